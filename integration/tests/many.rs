//! Many jobs in many partitions.

use garrison::site::OPEN_POLICY;
use integration::{World, ok};

#[test]
fn two_hundred_jobs_in_ten_partitions_all_end() {
    let names: Vec<String> = (0..10).map(|number| format!("p{number}")).collect();
    let partitions: Vec<&str> = names.iter().map(String::as_str).collect();
    let jobs: String = (0..20)
        .map(|number| format!("  j{number}: {{ process: {}, run: 'true' }}\n", "{}"))
        .collect();
    let pipeline =
        format!("on: {{ manual: {{}} }}\npartitions: [{}]\njobs:\n{jobs}", partitions.join(", "));
    let mut world = World::without_agents(&partitions, &pipeline);
    for partition in &partitions {
        ok(world.site.add_agent(partition, "mgmt01", 2, OPEN_POLICY));
    }
    let run = world.finished(world.trigger());
    assert_eq!(run["status"], "succeeded", "{run:#}");
    let jobs = run["jobs"].as_array().map(Vec::as_slice).unwrap_or_default();
    assert_eq!(jobs.len(), 200);
    assert!(jobs.iter().all(|job| job["attempts"].as_array().is_some_and(|it| it.len() == 1)));
}
