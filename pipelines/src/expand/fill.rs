//! Fills in the texts of a job at one place.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::ast::{Environment as Written, Job, Pipeline, Text, Variables};
use crate::diagnostic::{Code, Report, quoted};
use crate::image;
use crate::inventory;
use crate::limits;
use crate::matrix::{self, Combination};
use crate::name::LockName;
use crate::parse::{self, ProbeForm, Side};
use crate::plan::Environment;
use crate::scope::{self, Place, Scope, Value};
use crate::template::{Context, Kind, Templates, is_template};

/// Fills in the texts of a run.
pub(super) struct Fill<'t> {
    templates: &'t Templates,
    run: Scope,
}

/// Fills in the texts of a job at one place.
pub(super) struct Filled<'f> {
    templates: &'f Templates,
    scope: Scope,
    context: Context,
    env: BTreeMap<String, String>,
}

impl<'t> Fill<'t> {
    pub(super) fn new(run: Scope, templates: &'t Templates) -> Fill<'t> {
        Fill { templates, run }
    }

    /// What everything in the run reads.
    pub(super) fn run(&self) -> &Scope {
        &self.run
    }

    /// The job's own: its variables are filled in first, and all other texts read them. Those of the
    /// inventory are `inherited`: of the partition, then of the device. A job that reads nothing needs no
    /// place.
    pub(super) fn at(
        &self,
        place: Option<&Place<'_>>,
        pipeline: &Pipeline,
        inherited: &[&inventory::Variables],
        matrix: &Combination,
        job: &Job,
        report: &mut Report<'_>,
    ) -> Filled<'t> {
        let mut scope = Scope::new();
        if let Some(place) = place {
            scope = self.run.clone();
            place.extend(&mut scope);
        }
        let (templates, context) = (self.templates, Context::new(&scope));
        let mut filled = Filled { templates, scope, context, env: BTreeMap::new() };
        filled.take(&pipeline.variables, report);
        for variables in inherited {
            filled.env.extend((*variables).clone());
        }
        filled.take(&job.variables, report);
        if place.is_some() {
            insert_variables(&mut filled.scope, &filled.env);
            filled.context = Context::new(&filled.scope);
        }
        filled.env.extend(matrix::variables(matrix));
        filled
    }

    /// The message of a gate at this place that lets through what the summary says.
    pub(super) fn message(
        &self,
        place: &Place<'_>,
        variables: BTreeMap<String, String>,
        text: &Text,
        summary: &str,
        report: &mut Report<'_>,
    ) -> String {
        if !is_template(&text.value) {
            return text.value.clone();
        }
        let mut scope = self.run.clone();
        place.extend(&mut scope);
        insert_variables(&mut scope, &variables);
        scope::extend_message(&mut scope, summary);
        let context = Context::new(&scope);
        let filled = render(self.templates, text, Kind::Plain, &context, report);
        let filled = filled.trim_end().to_owned();
        parse::check_message(report, &filled, text.span);
        filled
    }
}

/// What texts read as `variables`.
fn insert_variables(scope: &mut Scope, env: &BTreeMap<String, String>) {
    let text = |(name, value): (&String, &String)| (name.clone(), Value::Text(value.clone()));
    scope.insert("variables", Value::Map(env.iter().map(text).collect()));
}

impl Filled<'_> {
    fn take(&mut self, variables: &Variables, report: &mut Report<'_>) {
        for (name, value) in variables {
            let value = self.plain(value, report).into_owned();
            self.env.insert(name.clone(), value);
        }
    }

    /// What conditions read.
    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The job's environment.
    pub(super) fn into_env(self) -> BTreeMap<String, String> {
        self.env
    }

    /// A shell command.
    pub(super) fn command(&self, text: &Text, report: &mut Report<'_>) -> String {
        self.fill(text, Kind::Command, report).into_owned()
    }

    /// The reference of an image.
    pub(super) fn image(&self, text: &Text, report: &mut Report<'_>) -> String {
        let filled = self.plain(text, report);
        match image::reference(&filled) {
            Ok(reference) => reference,
            // What could not be filled in was reported.
            Err(_) if is_template(&filled) => filled.into_owned(),
            Err(reason) => {
                let message = format!("{} cannot be an image: {reason}", quoted(&filled));
                report.error(Code::InvalidImage, text.span, message, image::HELP);
                filled.into_owned()
            }
        }
    }

    /// What the job deploys to.
    pub(super) fn environment(
        &self,
        written: Option<&Written>,
        report: &mut Report<'_>,
    ) -> Option<Environment> {
        let written = written?;
        let name = self.plain(&written.name, report).into_owned();
        let is_word = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        if name.is_empty() || name.len() > limits::ENVIRONMENT_BYTES || !name.chars().all(is_word) {
            let message = format!("{} cannot name an environment", quoted(&name));
            let help = "use letters, digits and `-_./`, 255 at most";
            report.error(Code::InvalidEnvironment, written.name.span, message, help);
        }
        let url = written.url.as_ref().map(|url| (self.plain(url, report).into_owned(), url.span));
        if let Some((url, span)) = &url {
            let is_web = url.starts_with("https://") || url.starts_with("http://");
            let fits = url.len() <= limits::ENVIRONMENT_BYTES && !url.contains(char::is_whitespace);
            if !is_web || !fits {
                let message = format!("{} is no address of a page", quoted(url));
                let help = "write a URL that begins with `https://`, 255 bytes at most";
                report.error(Code::InvalidEnvironment, *span, message, help);
            }
        }
        Some(Environment { name, url: url.map(|(url, _)| url) })
    }

    /// What is to be acknowledged at a gate.
    pub(super) fn acknowledge(&self, text: &Text, report: &mut Report<'_>) -> String {
        let filled = self.plain(text, report).into_owned();
        parse::check_acknowledge(report, &filled, text.span);
        filled
    }

    /// The key of a cache.
    pub(super) fn cache_key(&self, text: &Text, report: &mut Report<'_>) -> String {
        let key = self.plain(text, report).into_owned();
        parse::check_cache_key(report, &key, text.span);
        key
    }

    /// The lock of a job.
    pub(super) fn lock(&self, text: &Text, report: &mut Report<'_>) -> Option<LockName> {
        let name = self.plain(text, report);
        // What could not be filled in was reported.
        if is_template(&name) { None } else { parse::lock_named(report, &name, text.span) }
    }

    /// A text of a probe.
    pub(super) fn of_probe(&self, text: &Text, form: ProbeForm, report: &mut Report<'_>) -> String {
        let filled = self.plain(text, report).into_owned();
        // What is as it was written was checked, and what could not be filled in was reported.
        if is_template(&text.value) && !is_template(&filled) {
            form.check(report, &filled, text);
        }
        filled
    }

    /// A path of a rendered file, or of its template.
    pub(super) fn render_path(&self, text: &Text, report: &mut Report<'_>) -> String {
        let filled = self.plain(text, report).into_owned();
        // What is as it was written was checked, and what could not be filled in was reported.
        if is_template(&text.value) && !is_template(&filled) {
            parse::check_render_path(report, &filled, text);
        }
        filled
    }

    /// The path of a file that is carried.
    pub(super) fn path(&self, text: &Text, side: Side, report: &mut Report<'_>) -> String {
        let path = self.plain(text, report).into_owned();
        // What could not be filled in was reported.
        if !is_template(&path) {
            parse::check_path(report, &path, side, text.span);
        }
        path
    }

    /// A text of no certain kind.
    pub(super) fn plain<'t>(&self, text: &'t Text, report: &mut Report<'_>) -> Cow<'t, str> {
        self.fill(text, Kind::Plain, report)
    }

    fn fill<'t>(&self, text: &'t Text, kind: Kind, report: &mut Report<'_>) -> Cow<'t, str> {
        render(self.templates, text, kind, &self.context, report)
    }
}

/// The text as it is if it cannot be filled in, which is reported.
fn render<'t>(
    templates: &Templates,
    text: &'t Text,
    kind: Kind,
    context: &Context,
    report: &mut Report<'_>,
) -> Cow<'t, str> {
    if !is_template(&text.value) {
        return Cow::Borrowed(&text.value);
    }
    match templates.render(&text.value, kind, context) {
        Ok(filled) => Cow::Owned(filled),
        Err(complaint) => {
            report.complain(Code::InvalidTemplate, text.span, complaint);
            Cow::Borrowed(&text.value)
        }
    }
}
