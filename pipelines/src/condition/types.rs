//! Whether the types in a condition fit, and which type it has itself.

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators as op};

use super::RESULTS;
use crate::diagnostic::{Complaint, quoted};
use crate::limits;
use crate::scope::{self, Names, Type};

const FUNCTIONS: &str = "there are `always()`, `changed(\"path/**\")`, `failure()`, `size(…)`, \
                         `success()`, and `contains`, `endsWith`, `startsWith` of texts";

/// Infers types, and remembers what is read.
pub(super) struct Checker<'n> {
    pub(super) names: &'n Names,
    /// Texts by name that are read.
    pub(super) texts: Vec<(String, String)>,
    /// How many expressions the present one stands in.
    pub(super) depth: usize,
    /// Functions that are called.
    pub(super) calls: Vec<String>,
}

impl Checker<'_> {
    /// The type of an expression.
    pub(super) fn infer(&mut self, expression: &IdedExpr) -> Result<Type, Complaint> {
        self.depth += 1;
        if self.depth > limits::CONDITION_OPERATORS {
            let most = limits::CONDITION_OPERATORS;
            let message =
                format!("more than {most} operators of this condition are within each other");
            let help = "write it simpler, or let the script decide".to_owned();
            return Err(Complaint { message, help });
        }
        let kind = self.infer_one(expression);
        self.depth -= 1;
        kind
    }

    fn infer_one(&mut self, expression: &IdedExpr) -> Result<Type, Complaint> {
        match &expression.expr {
            Expr::Literal(literal) => of_literal(literal),
            Expr::Ident(name) => self.known(name),
            Expr::Select(select) if !select.test => self.select(select),
            Expr::List(list) => {
                let mut kind = Type::Text;
                for (nth, element) in list.elements.iter().enumerate() {
                    let one = self.infer(element)?;
                    if nth > 0 && one != kind {
                        return mismatch("a list holds", &kind, &one);
                    }
                    kind = one;
                }
                Ok(Type::List(Box::new(kind)))
            }
            Expr::Call(call) => self.call(call),
            _ => Err(unsupported()),
        }
    }

    fn known(&self, dotted: &str) -> Result<Type, Complaint> {
        match scope::unknown(self.names, dotted) {
            Some((message, help)) => Err(Complaint { message, help }),
            None => Ok(self.names[dotted].clone()),
        }
    }

    fn select(&mut self, select: &SelectExpr) -> Result<Type, Complaint> {
        let of = self.infer(&select.operand)?;
        let root = match &select.operand.expr {
            Expr::Ident(name) => name.as_str(),
            _ => "",
        };
        match of {
            Type::Texts => {
                self.texts.push((root.to_owned(), select.field.clone()));
                Ok(Type::Text)
            }
            Type::Record(mut fields) => match fields.remove(&select.field) {
                Some(kind) => Ok(kind),
                None => {
                    let dotted = format!("{root}.{}", select.field);
                    let (message, help) =
                        scope::unknown(self.names, &dotted).unwrap_or_else(|| {
                            (format!("there is no `{dotted}`"), FUNCTIONS.to_owned())
                        });
                    Err(Complaint { message, help })
                }
            },
            Type::Any => Ok(Type::Any),
            Type::Text | Type::Int | Type::Bool | Type::List(_) => Err(Complaint {
                message: format!("{} has no {}", name(&of), quoted(&select.field)),
                help: "remove what stands behind the dot".to_owned(),
            }),
        }
    }

    fn call(&mut self, call: &CallExpr) -> Result<Type, Complaint> {
        let mut kinds = Vec::new();
        for argument in call.target.iter().map(|it| &**it).chain(&call.args) {
            kinds.push(self.infer(argument)?);
        }
        self.calls.push(call.func_name.clone());
        let function = call.func_name.as_str();
        match (function, call.target.is_some(), kinds.as_slice()) {
            (op::LOGICAL_AND | op::LOGICAL_OR, false, kinds) => all_bool(kinds),
            (op::LOGICAL_NOT, false, kinds) => all_bool(kinds),
            (op::CONDITIONAL, false, [condition, one, other]) => {
                all_bool(std::slice::from_ref(condition))?;
                if one == other {
                    Ok(one.clone())
                } else {
                    mismatch("`? :` chooses between", one, other)
                }
            }
            (op::EQUALS | op::NOT_EQUALS, false, [one, other]) => {
                let is_single = |kind: &Type| !matches!(kind, Type::Record(_) | Type::Texts);
                if are_alike(one, other) && is_single(one) && is_single(other) {
                    Ok(Type::Bool)
                } else {
                    mismatch("this compares", one, other)
                }
            }
            (
                op::LESS | op::LESS_EQUALS | op::GREATER | op::GREATER_EQUALS,
                false,
                [one, other],
            ) => match (one, other) {
                (Type::Int | Type::Any, Type::Int | Type::Any)
                | (Type::Text | Type::Any, Type::Text | Type::Any) => Ok(Type::Bool),
                _ => mismatch("this compares", one, other),
            },
            (op::ADD, false, [Type::Text, Type::Text]) => Ok(Type::Text),
            (
                op::ADD | op::SUBSTRACT | op::MULTIPLY | op::DIVIDE | op::MODULO,
                false,
                [Type::Int, Type::Int],
            )
            | (op::NEGATE, false, [Type::Int]) => Ok(Type::Int),
            (
                op::ADD | op::SUBSTRACT | op::MULTIPLY | op::DIVIDE | op::MODULO,
                false,
                [one, other],
            ) => mismatch("this computes with", one, other),
            (op::IN, false, [one, Type::List(of)]) if are_alike(one, of) => Ok(Type::Bool),
            (op::IN, false, [Type::Text | Type::Int | Type::Bool, Type::Any]) => Ok(Type::Bool),
            (op::IN, false, [Type::Text, Type::Texts]) => Ok(Type::Bool),
            (op::IN, false, [one, other]) => mismatch("`in` looks for", one, other),
            (
                "contains" | "endsWith" | "startsWith",
                true,
                [Type::Text | Type::Any, Type::Text | Type::Any],
            ) => Ok(Type::Bool),
            ("size", _, [Type::Text | Type::List(_) | Type::Any]) => Ok(Type::Int),
            ("changed", false, [Type::Text]) => Ok(Type::Bool),
            (function, false, []) if RESULTS.contains(&function) => Ok(Type::Bool),
            (function, ..) if function.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                let kinds: Vec<_> = kinds.iter().map(name).collect();
                let of = if kinds.is_empty() { "nothing".to_owned() } else { kinds.join(", ") };
                let message = format!("there is no function {} of {of}", quoted(function));
                Err(Complaint { message, help: FUNCTIONS.to_owned() })
            }
            _ => Err(unsupported()),
        }
    }
}

/// Whether both can be of one type.
fn are_alike(one: &Type, other: &Type) -> bool {
    one == other || *one == Type::Any || *other == Type::Any
}

fn of_literal(literal: &LiteralValue) -> Result<Type, Complaint> {
    match literal {
        LiteralValue::Boolean(_) => Ok(Type::Bool),
        LiteralValue::Int(_) => Ok(Type::Int),
        LiteralValue::String(_) => Ok(Type::Text),
        LiteralValue::Bytes(_)
        | LiteralValue::Double(_)
        | LiteralValue::Null
        | LiteralValue::UInt(_) => Err(Complaint {
            message: "conditions know texts, whole numbers, `true` and `false` only".to_owned(),
            help: "write one of these".to_owned(),
        }),
    }
}

fn all_bool(kinds: &[Type]) -> Result<Type, Complaint> {
    match kinds.iter().find(|kind| **kind != Type::Bool) {
        None => Ok(Type::Bool),
        Some(kind) => Err(Complaint {
            message: format!(
                "`&&`, `||`, `!` and `?` take what is true or false, not {}",
                name(kind)
            ),
            help: "compare it with something first, such as `branch == \"main\"`".to_owned(),
        }),
    }
}

fn mismatch<T>(what: &str, one: &Type, other: &Type) -> Result<T, Complaint> {
    Err(Complaint {
        message: format!("{what} {} and {}", name(one), name(other)),
        help: "both sides must have one type: texts stand in quotes, numbers do not".to_owned(),
    })
}

fn unsupported() -> Complaint {
    Complaint {
        message: "this condition uses something of CEL that is not supported here".to_owned(),
        help: FUNCTIONS.to_owned(),
    }
}

/// A type in words.
pub(super) fn name(kind: &Type) -> String {
    match kind {
        Type::Text => "a text".to_owned(),
        Type::Int => "a number".to_owned(),
        Type::Bool => "true or false".to_owned(),
        Type::Texts | Type::Record(_) => "a mapping".to_owned(),
        Type::List(of) => format!("a list of {}", name(of)),
        Type::Any => "something that only the event knows".to_owned(),
    }
}
