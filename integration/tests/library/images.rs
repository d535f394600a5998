//! The images of a management server.

use std::fs;
use std::path::Path;

use garrison::site::OPEN_POLICY;
use integration::{World, ok};
use sha2::{Digest, Sha256};

use crate::web::Web;

const LIBRARY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../pipelines/library");

fn checksum(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the pipeline needs of the library, with this list, at a partition whose images lie in the folder `images`
/// and have 20 bytes.
fn commit(world: &World, here: &Path, list: &str) {
    let inventory = format!(
        "partition: fra\nlabels: {{ kind: partition }}\nagents: {{ mgmt01: {{}} }}\ndevices: {{}}\n\
         variables: {{ IMAGES_FOLDER: {}/images, IMAGES_BYTES: 20 }}\n",
        here.display()
    );
    let pipeline = fs::read_to_string(format!("{LIBRARY}/.garrison/image-cache.yaml")).unwrap();
    let files = [
        (".garrison/image-cache.yaml", pipeline.as_str()),
        ("files/images.txt", list),
        ("partitions/fra.yaml", &inventory),
    ];
    let program = world.site.repository().join("files/image-cache");
    fs::create_dir_all(program.parent().unwrap()).unwrap();
    fs::copy(format!("{LIBRARY}/files/image-cache"), program).unwrap();
    ok(world.site.commit(&files));
}

/// What the run said, and how it ended.
fn run(world: &World) -> (String, String) {
    let trigger = ["trigger", "image-cache", "--repository", "infra", "-o", "json"];
    let said = world.garrison(&trigger);
    assert_eq!(said.code, 0, "{said:?}");
    let run = said.json()["id"].as_u64().unwrap();
    let detail = world.finished(run);
    (detail["status"].as_str().unwrap().to_owned(), world.log(run, 0))
}

#[test]
fn images_are_fetched_whole_checked_and_removed_by_the_list() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    fs::create_dir_all(here.join("www/os")).unwrap();
    for (file, text) in [("os/a", "image a"), ("os/b", "image b"), ("os/large", "0123456789")] {
        fs::write(here.join("www").join(file), text).unwrap();
    }
    let web = Web::start(&here.join("www"));
    let entry = |text: &str, file: &str| format!("{}  {}/os/{file}\n", checksum(text), web.url);
    let image = |file: &str| fs::read_to_string(here.join("images/os").join(file)).ok();
    let (a, b) = (entry("image a", "a"), entry("image b", "b"));
    let mut world = World::without_agents(
        &["fra"],
        "on: { manual: {} }\npartitions: [fra]\njobs: { none: { process: {}, run: 'true' } }\n",
    );
    commit(&world, here, &format!("# first those that count\n{a}{b}"));
    ok(world.site.add_agent("fra", "mgmt01", 8, OPEN_POLICY));

    let (status, log) = run(&world);
    assert_eq!((status.as_str(), log.matches("fetched").count()), ("succeeded", 2), "{log}");
    assert_eq!((image("a").as_deref(), image("b").as_deref()), (Some("image a"), Some("image b")));

    // One that is damaged is fetched again, one that is listed no more goes.
    fs::write(here.join("images/os/a"), "imagine").unwrap();
    commit(&world, here, &a);
    let (status, log) = run(&world);
    assert_eq!(status, "succeeded", "{log}");
    assert!(log.contains("fetched  ") && log.contains("removed  "), "{log}");
    assert_eq!((image("a").as_deref(), image("b")), (Some("image a"), None), "{log}");
    let (_, log) = run(&world);
    assert!(log.contains("whole    ") && !log.contains("fetched"), "{log}");

    // A list that nobody has filled in yet removes nothing.
    commit(&world, here, "# nothing\n");
    let (status, log) = run(&world);
    assert_eq!((status.as_str(), image("a").as_deref()), ("succeeded", Some("image a")), "{log}");

    // What is another than the list says, and what there is no room for, is not served.
    let large = entry("0123456789", "large");
    commit(&world, here, &format!("{a}{}{large}{b}", entry("image c", "b")));
    let (status, log) = run(&world);
    assert_eq!(status, "failed", "{log}");
    assert!(log.contains(&format!("its SHA-256 is {}", checksum("image b"))), "{log}");
    let kept = ["a", "b", "large"].map(|file| image(file).is_some());
    assert_eq!(kept, [true, false, true], "{log}");
    assert!(log.contains("there is no room for it"), "{log}");
}
