//! Compiling a pipeline: 1,000 jobs over 200 partitions, and ten times as many.

use std::time::Instant;

use pipelines::compile::compile;
use pipelines::load::{Need, Sources, Unavailable, load};
use pipelines::source::File;
use pipelines::trigger::Trigger;

use super::{figure, percentile};

pub(super) fn run() {
    for (jobs, partitions) in [(1_000, 200), (10_000, 1_000)] {
        let text = text(jobs / partitions, partitions);
        let mut times = Vec::new();
        for _ in 0..20 {
            let begun = Instant::now();
            let plan = compile(&sources(&text), &Trigger::by_hand()).unwrap();
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
            assert_eq!(plan.jobs.len(), jobs);
        }
        times.sort_by(f64::total_cmp);
        let metric = format!("compile_{jobs}_ms");
        figure("compile", &metric, "ms", percentile(&times, 0.5), &times);
    }
}

/// A chain of jobs in each partition.
fn text(jobs: usize, partitions: usize) -> String {
    let names: Vec<String> = (0..partitions).map(|number| format!("p{number:04}")).collect();
    let mut text = format!("on: {{ manual: {{}} }}\npartitions: [{}]\njobs:\n", names.join(", "));
    for number in 0..jobs {
        let needs = match number {
            0 => String::new(),
            _ => format!(", needs: [j{}]", number - 1),
        };
        text.push_str(&format!(
            "  j{number}: {{ container: debian:12, run: [make, make install], variables: {{ N: {number} }}{needs} }}\n"
        ));
    }
    text
}

fn sources(text: &str) -> Sources {
    load(".garrison/bench.yaml", Vec::new(), |need| match need {
        Need::Pipeline(path) => Ok(File { name: path.clone(), bytes: text.as_bytes().to_vec() }),
        Need::Include(_) | Need::Tree => Err(Unavailable::NotFound),
        Need::Inventory(partition) => Ok(File {
            name: format!("{partition}.yaml"),
            bytes: format!("partition: {partition}\ndevices: {{}}\n").into_bytes(),
        }),
    })
}
