//! Files that want to cost time or memory, or to bring the coordinator down.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod support;

use std::fmt::Write;
use std::time::{Duration, Instant};

use pipelines::compile::{compile, lint};
use pipelines::diagnostic::{Code, Diagnostics};
use pipelines::limits;
use pipelines::load::{Need, Unavailable, load};
use pipelines::source::File;
use pipelines::trigger::Trigger;
use support::sources;

/// Far above what a refusal takes even in a slow, unoptimised build.
const DEADLINE: Duration = Duration::from_secs(20);

const HEAD: &str = "on: { manual: {} }\npartitions: [fra-equ01, fra-equ02]\n";

fn refused(bytes: &[u8]) -> Diagnostics {
    let started = Instant::now();
    let found = compile(&sources("hostile.yaml", bytes), &Trigger::by_hand()).unwrap_err();
    let shown = found.render();
    assert!(started.elapsed() < DEADLINE, "took {:?}:\n{shown}", started.elapsed());
    assert!(shown.len() < 1 << 20, "{} bytes of diagnostics", shown.len());
    found
}

fn codes(bytes: &[u8]) -> Vec<Code> {
    refused(bytes).iter().map(|found| found.code).collect()
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut bomb = String::from("a: &a [x, x, x, x, x, x, x, x, x, x]\n");
    for (one, next) in ('a'..='y').zip('b'..='z') {
        let aliases = vec![format!("*{one}"); 10].join(", ");
        writeln!(bomb, "{next}: &{next} [{aliases}]").unwrap();
    }
    let started = Instant::now();
    assert_eq!(codes(bomb.as_bytes()), [Code::TooManyNodes]);
    assert!(started.elapsed() < Duration::from_millis(500), "took {:?}", started.elapsed());
}

#[test]
fn aliases_of_a_long_text_are_refused() {
    let text = format!("a: &a {}\nb: [{}]\n", "x".repeat(500_000), "*a, ".repeat(1_000));
    assert_eq!(codes(text.as_bytes()), [Code::TooManyNodes]);
}

#[test]
fn anchors_within_anchors_are_refused() {
    let items = "x, ".repeat(50_000);
    let nested = (0..50).fold(format!("[{items}]"), |inner, n| format!("&n{n} [{inner}]"));
    assert_eq!(codes(format!("a: {nested}").as_bytes()), [Code::TooManyNodes]);
}

#[test]
fn deep_nesting_is_refused_in_every_style() {
    let mut indented = String::new();
    for depth in 0..1_400 {
        writeln!(indented, "{}a:", " ".repeat(depth)).unwrap();
    }
    let texts = ["[".repeat(10_000), "{a: ".repeat(10_000), "- ".repeat(10_000), indented];
    for text in texts {
        assert_eq!(codes(text.as_bytes()), [Code::TooDeep], "{}", &text[..20]);
    }
    let by_alias = format!(
        "a: &a {}{}\nb: {}*a{}",
        "[".repeat(60),
        "]".repeat(60),
        "[".repeat(10),
        "]".repeat(10)
    );
    assert_eq!(codes(by_alias.as_bytes()), [Code::TooDeep]);
}

#[test]
fn what_is_no_text_is_refused() {
    assert_eq!(codes(b"name: \xff\xfe\n"), [Code::NotUtf8]);
    assert_eq!(codes(b"name: a\0b\n"), [Code::NulCharacter]);
    assert_eq!(codes(b"\0"), [Code::NulCharacter]);
    assert_eq!(codes(&vec![b' '; 2 << 20]), [Code::FileTooLarge]);
    assert_eq!(codes(&vec![b' '; limits::FILE_BYTES]), [Code::EmptyFile]);
}

#[test]
fn large_files_of_one_thing_are_refused_in_time() {
    let fill = |unit: &str| unit.repeat((limits::FILE_BYTES - 64) / unit.len());
    for unit in ["a ", "a\n", "? ", "*a ", "\"", "'", "#", ": ", "---\n", "é", "a,", "\"a\",", "[]"]
    {
        refused(fill(unit).as_bytes());
        refused(format!("a: [{}", fill(unit)).as_bytes());
    }
}

#[test]
fn many_mistakes_are_counted_beyond_the_limit() {
    let mut text = HEAD.to_owned();
    for n in 0..20_000 {
        writeln!(text, "wrong-{n}: 1").unwrap();
    }
    let found = refused(text.as_bytes());
    assert_eq!(found.iter().count(), limits::DIAGNOSTICS);
    assert_eq!(found.omitted() as usize, 20_001 - limits::DIAGNOSTICS);
}

#[test]
fn jobs_are_limited_after_expansion() {
    let plan = |jobs: usize| {
        let mut text = format!("{HEAD}jobs:\n  j0: &j {{ process: {{}}, run: date }}\n");
        for n in 1..jobs {
            writeln!(text, "  j{n}: *j").unwrap();
        }
        compile(&sources("a.yaml", text.as_bytes()), &Trigger::by_hand())
    };
    assert_eq!(plan(limits::JOBS / 2).unwrap().jobs.len(), limits::JOBS);
    let found = plan(limits::JOBS / 2 + 1).unwrap_err();
    insta::assert_snapshot!(found, @r"
    error[P059]: the plan would have 10002 jobs, counted once for each partition, variant, agent and device; at most 10000 fit
     --> a.yaml
      = help: use fewer partitions or jobs, or write several pipelines
    ");
}

#[test]
fn gates_are_looked_behind_in_time() {
    let names: Vec<_> = (0..limits::GATES).map(|n| format!("g{n:02}")).collect();
    let mut text = format!("{HEAD}jobs:\n");
    for name in &names {
        writeln!(text, "  {name}: {{ gate: {{ message: '{{{{ plan.summary }}}}' }} }}").unwrap();
    }
    writeln!(text, "  j0: &j {{ process: {{}}, run: date, needs: [{}] }}", names.join(", "))
        .unwrap();
    for n in 1..3000 {
        writeln!(text, "  j{n}: *j").unwrap();
    }
    let plan = compile(&sources("a.yaml", text.as_bytes()), &Trigger::by_hand()).unwrap();
    let pipelines::plan::Task::Gate(gate) = &plan.jobs[0].task else { panic!("a gate is first") };
    assert!(
        gate.message.starts_with("lets 3000 jobs through in fra-equ01: j0, j1, "),
        "{}",
        gate.message
    );
    assert!(gate.message.ends_with("and 2992 more"), "{}", gate.message);
}

#[test]
fn jobs_on_each_agent_count_once_for_each() {
    let each = "process: {}, run: date, agent: each, partitions: [fra-equ01]";
    let mut text = format!("{HEAD}jobs:\n  j0: &j {{ {each} }}\n");
    for n in 1..limits::JOBS / 2 {
        writeln!(text, "  j{n}: *j").unwrap();
    }
    let compile = |text: &str| compile(&sources("a.yaml", text.as_bytes()), &Trigger::by_hand());
    assert_eq!(compile(&text).unwrap().jobs.len(), limits::JOBS);
    writeln!(text, "  one-more: *j").unwrap();
    assert_eq!(codes(text.as_bytes()), [Code::TooManyJobs]);
}

#[test]
fn partitions_are_limited() {
    let names: Vec<_> = (0..=limits::PARTITIONS).map(|n| format!("p{n}")).collect();
    let text = format!(
        "on: {{ manual: {{}} }}\npartitions: [{}]\njobs: {{ a: {{ process: {{}}, run: date }} }}\n",
        names.join(", ")
    );
    assert_eq!(codes(text.as_bytes()), [Code::TooManyPartitions]);
}

#[test]
fn a_plan_that_would_be_too_large_is_refused() {
    let mut text = format!("{HEAD}variables: {{ X: {} }}\njobs:\n", "x".repeat(30_000));
    for n in 0..300 {
        writeln!(text, "  j{n}: {{ process: {{}}, run: date }}").unwrap();
    }
    insta::assert_snapshot!(refused(text.as_bytes()), @r"
    error[P060]: the plan would hold 17 MiB of scripts and environments; at most 16 fit
     --> hostile.yaml
      = help: keep long scripts in files of the repository, or write several pipelines
    ");
}

#[test]
fn variables_of_an_inventory_count_once_for_each_job() {
    let value = "x".repeat(30_000);
    let inventory = format!("partition: fra-equ01\nvariables: {{ A: {value} }}\ndevices: {{}}\n");
    let compiled = |jobs: usize| {
        let mut text = String::from("on: { manual: {} }\npartitions: [fra-equ01]\njobs:\n");
        for n in 0..jobs {
            writeln!(text, "  j{n}: {{ process: {{}}, run: date }}").unwrap();
        }
        let sources = load("a.yaml", Vec::new(), |need| {
            let text = match need {
                Need::Pipeline(_) | Need::Include(_) | Need::Tree => &text,
                Need::Inventory(_) => &inventory,
            };
            Ok(File { name: "a.yaml".into(), bytes: text.clone().into_bytes() })
        });
        compile(&sources, &Trigger::by_hand())
    };
    assert!(compiled(500).is_ok());
    let found = compiled(600).unwrap_err();
    assert_eq!(found.iter().map(|one| one.code).collect::<Vec<_>>(), [Code::PlanTooLarge]);
}

#[test]
fn an_inventory_for_ansible_is_limited_and_counts_once() {
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";
    let text = "on: { manual: {} }\npartitions: [fra-equ01]\ndefaults: { image: debian }\njobs:\n  \
                a: { devices: { role: leaf }, container: {}, run: date, inventory: ansible }\n";
    let compiled = |devices: usize| {
        let mut inventory = format!(
            "partition: fra-equ01\ndevices:\n  l0: &l {{ address: a, user: a, role: leaf, host_key: {key} }}\n"
        );
        for n in 1..devices {
            writeln!(inventory, "  l{n}: *l").unwrap();
        }
        let sources = load("a.yaml", Vec::new(), |need| {
            let text = match need {
                Need::Pipeline(_) | Need::Include(_) | Need::Tree => text,
                Need::Inventory(_) => &inventory,
            };
            Ok(File { name: "a.yaml".into(), bytes: text.to_owned().into_bytes() })
        });
        compile(&sources, &Trigger::by_hand())
    };
    let plan = compiled(1000).unwrap();
    let held: Vec<_> = plan.inventories.iter().map(|it| it.hosts.len()).collect();
    assert_eq!((plan.jobs.len(), held.len()), (1000, 1));
    assert!(held[0] > 200_000 && plan.to_json().len() < held[0] * 4, "{held:?}");
    let found = compiled(9000).unwrap_err();
    assert_eq!(found.iter().map(|one| one.code).collect::<Vec<_>>(), [Code::PlanTooLarge]);
    assert!(found.render().contains("at most 2 MiB fit"), "{}", found.render());
}

#[test]
fn a_long_command_is_refused() {
    let line = "x".repeat(limits::SCRIPT_LINE_BYTES + 1);
    let text = format!("{HEAD}jobs: {{ a: {{ process: {{}}, run: '{line}' }} }}\n");
    assert_eq!(codes(text.as_bytes()), [Code::TooLong]);
}

#[test]
fn long_chains_and_many_circles_of_needs_are_walked_in_time() {
    let jobs = 4_000;
    let chain = |needs: &dyn Fn(usize) -> String| {
        let mut text = String::from("on: { manual: {} }\npartitions: [fra-equ01]\njobs:\n");
        for n in 0..jobs {
            writeln!(text, "  j{n}: {{ process: {{}}, run: date, needs: [{}] }}", needs(n))
                .unwrap();
        }
        text
    };
    let forwards = chain(&|n| if n + 1 < jobs { format!("j{}", n + 1) } else { String::new() });
    let plan = compile(&sources("a.yaml", forwards.as_bytes()), &Trigger::by_hand()).unwrap();
    assert_eq!(plan.jobs[0].name.as_str(), format!("j{}", jobs - 1));

    let circles = chain(&|n| format!("j{}, j{}, j{}", (n + 1) % jobs, (n + 7) % jobs, n / 2));
    assert!(codes(circles.as_bytes()).contains(&Code::Cycle));

    let repeated = "j0, ".repeat(80_000);
    let text = format!(
        "{HEAD}jobs:\n  j0: &j {{ process: {{}}, run: date }}\n  j1:\n    process: {{}}\n    run: date\n    needs: [{repeated}]\n"
    );
    assert!(codes(text.as_bytes()).contains(&Code::Duplicate));

    let unknown = chain(&|n| format!("k{n}"));
    assert!(codes(unknown.as_bytes()).contains(&Code::UnknownJob));
}

#[test]
fn lint_warns_about_inventories_that_are_not_at_hand() {
    let text = "on: { manual: {} }\npartitions: [ams-away01]\njobs: { a: { ssh: { device: leaf01 }, run: date } }\n";
    let sources = sources("a.yaml", text.as_bytes());
    let found = lint(&sources);
    assert!(!found.has_errors() && !found.is_empty(), "{found}");
    assert!(compile(&sources, &Trigger::by_hand()).is_err());
}

#[test]
fn patterns_that_are_dear_to_make_cost_a_plan_little() {
    let mut text = format!("{HEAD}jobs:\n");
    let dear = r"(((\\w{999}|\\d{999}){999}){999})";
    for n in 0..250 {
        let probe = format!("{{ http: \"http://a/\", body: \"{dear}\" }}");
        writeln!(text, "  j{n}: {{ wait: [{}] }}", vec![probe; 32].join(", ")).unwrap();
    }
    let started = Instant::now();
    let plan = compile(&sources("a.yaml", text.as_bytes()), &Trigger::by_hand()).unwrap();
    assert!(started.elapsed() < DEADLINE, "took {:?}", started.elapsed());
    assert_eq!(plan.jobs.len(), 500);
}

/// Each file that a pipeline starts is large, and starts all others.
#[test]
fn pipelines_that_start_each_other_are_refused_in_time() {
    let jobs: String = (0..60).map(|n| format!("  j{n}: {{ pipeline: p{n}.yaml }}\n")).collect();
    let head = "on: { manual: {} }\npartitions: [fra-equ01]\njobs:\n";
    let text = format!("{head}{jobs}{}", "# far too long\n".repeat(30_000));
    let begun = Instant::now();
    let among = vec!["fra-equ01".parse().unwrap()];
    let sources = load("a.yaml", among, |need| match need {
        Need::Pipeline(path) => Ok(File { name: path.clone(), bytes: text.clone().into_bytes() }),
        Need::Include(it) => Ok(File { name: it.file.clone(), bytes: text.clone().into_bytes() }),
        Need::Tree | Need::Inventory(_) => Err(Unavailable::NotFound),
    });
    let told = compile(&sources, &Trigger::by_hand()).unwrap_err().render();
    assert!(told.contains("start each other") && told.contains("have more than"), "{told}");
    assert!(begun.elapsed() < DEADLINE, "{:?}", begun.elapsed());
}
