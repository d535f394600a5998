//! What is shown instead of a page.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::{Shell, html};
use crate::api::Failure;

/// Why there is no page.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    title: &'static str,
    message: String,
    advice: Advice,
}

/// What the reader can do.
#[derive(Debug, PartialEq, Eq)]
enum Advice {
    /// Get a link, which starts a session.
    SignIn,
    /// Go to the first page.
    GoHome,
    /// What the message says.
    None,
}

impl Problem {
    pub(super) fn no_session() -> Problem {
        Problem {
            status: StatusCode::UNAUTHORIZED,
            title: "Not signed in",
            message: "This browser has no session here, or it has ended.".to_owned(),
            advice: Advice::SignIn,
        }
    }

    pub(super) fn used_link() -> Problem {
        Problem {
            status: StatusCode::UNAUTHORIZED,
            title: "This link does not work any more",
            message: "A link works once, within ten minutes, and until the coordinator is \
                      started again."
                .to_owned(),
            advice: Advice::SignIn,
        }
    }

    pub(super) fn foreign_form() -> Problem {
        Problem {
            status: StatusCode::FORBIDDEN,
            title: "Nothing was done",
            message: "What was sent does not come from a page of this session. Go back, reload \
                      the page, and try again."
                .to_owned(),
            advice: Advice::GoHome,
        }
    }

    pub(super) fn foreign_host(host: &str) -> Problem {
        Problem {
            status: StatusCode::MISDIRECTED_REQUEST,
            title: "This is not where the pages are",
            message: format!(
                "They answer to this host's own names, such as localhost, and to the name in the \
                 coordinator's configuration under http.url. '{host}' is neither."
            ),
            advice: Advice::None,
        }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Problem {
        let title = match failure.status() {
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::FORBIDDEN => "Not allowed",
            StatusCode::CONFLICT => "Nothing was done",
            _ => "Not possible now",
        };
        let message = failure.message().to_owned();
        Problem { status: failure.status(), title, message, advice: Advice::GoHome }
    }
}

#[derive(Template)]
#[template(path = "problem.html")]
struct Page {
    shell: Shell,
    problem: Problem,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status;
        (status, html(&Page { shell: Shell::outside(self.title), problem: self })).into_response()
    }
}
