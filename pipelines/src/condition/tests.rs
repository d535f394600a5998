//! What conditions mean, and that none exhausts the stack.

use std::collections::BTreeMap;

use super::Condition;
use crate::plan::When;
use crate::scope::{Names, Scope, Type, Value};

fn names() -> Names {
    let inputs = [("check".to_owned(), Type::Bool), ("n".to_owned(), Type::Int)];
    Names::from([
        ("branch", Type::Text),
        ("inputs", Type::Record(inputs.into())),
        ("variables", Type::Texts),
    ])
}

fn when(text: &str) -> Result<Option<When>, String> {
    let inputs = [("check".to_owned(), Value::Bool(true)), ("n".to_owned(), Value::Int(3))];
    let scope = Scope::from([
        ("branch", Value::Text("main".to_owned())),
        ("inputs", Value::Map(inputs.into())),
        ("variables", Value::Map(BTreeMap::new())),
    ]);
    let condition = Condition::parse(text, &names()).map_err(|error| error.message)?;
    let changed = ["roles/a.yaml".to_owned()];
    condition.when(&scope, Some(&changed)).map_err(|error| error.message)
}

#[test]
fn a_condition_says_after_which_results_a_job_runs() {
    for (text, is) in [
        ("true", Some(When::Success)),
        ("branch == 'main' && inputs.n % 2 == 1", Some(When::Success)),
        ("branch in [\"a\", \"main\"] ? inputs.check : false", Some(When::Success)),
        ("variables.NONE == ''", Some(When::Success)),
        ("changed('roles/')", Some(When::Success)),
        ("changed('docs/')", None),
        ("size(branch) > 4 || !inputs.check", None),
        ("failure()", Some(When::Failure)),
        ("success() || failure()", Some(When::Always)),
        ("always() && branch.startsWith('x')", None),
        ("success() && failure()", None),
    ] {
        assert_eq!(when(text), Ok(is), "{text}");
    }
}

#[test]
fn what_nobody_knows_may_have_changed() {
    let condition = Condition::parse("changed('docs/')", &names()).unwrap();
    assert_eq!(condition.when(&Scope::new(), None), Ok(Some(When::Success)));
}

#[test]
fn no_nesting_exhausts_the_stack() {
    let nested = |n: usize| format!("{}true{}", "(".repeat(n), ")".repeat(n));
    assert_eq!(when(&nested(8)), Ok(Some(When::Success)));
    let hidden = [
        nested(9),
        format!("')))))))))' == '' || {}", nested(9)),
        format!("r'\\' == '' || {}", nested(900)),
        format!("\"\"\"a\"b\"\"\" == '' || {}", nested(900)),
        format!("// '\n{}", nested(900)),
        "true ? true : ".repeat(100) + "true",
        "[".repeat(500),
    ];
    for text in hidden {
        assert!(when(&text).is_err(), "{text}");
    }
    for text in [
        "!".repeat(1000) + "true",
        "1+".repeat(500) + "1 == 1",
        "-".repeat(1000) + "1 == 1",
        "1+".repeat(30) + "1 == 1",
        "true == ".repeat(120) + "true",
        "true == ".repeat(30) + "true",
        "1 == 1".to_owned() + &" && true".repeat(110),
    ] {
        let _ = when(&text);
    }
}
