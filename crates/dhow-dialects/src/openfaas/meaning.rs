//! What a function that was said in OpenFaaS' words is here.

use dhow_core::abi::Io;
use dhow_core::access::Access;
use dhow_core::function::{Function, ImageSource, Source, Template};
use dhow_core::grant::Grants;
use dhow_core::limits::{ARGS_AND_ENV, Limits};
use dhow_core::metadata::{MOST_METADATA, Metadata};
use dhow_core::name::{FunctionName, Label};

use super::extra::{Extra, Resources};
use super::said::Said;
use super::scaling::Scaling;
use super::{MARK, annotations, watchdog};
use crate::problem::FieldError;

/// The variable that names the process where nothing else does.
const PROCESS: &str = "fprocess";

/// A function, and what of it has no effect here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meant {
    /// The function.
    pub function: Function,
    /// Sentences for people.
    pub notes: Vec<String>,
    /// Secrets that have to be there.
    pub secrets: Vec<Label>,
}

/// The function called `name` that `said` describes. Without a name it is only looked through.
pub(super) fn meaning(
    name: Option<FunctionName>,
    said: Said,
    problems: &mut Vec<FieldError>,
) -> Option<Meant> {
    let watchdog = watchdog::read(&said.env, &said.env_path, problems);
    let scaling = Scaling::read(&said.labels, watchdog.max_inflight, &said.labels_path, problems);
    let asynchronous =
        annotations::asynchronous(&said.annotations, &said.annotations_path, problems);
    let notes = notes(&said);
    if said.annotations.contains_key(MARK) {
        let message = format!("`{MARK}` is dhow's own");
        problems.push(FieldError::new(&said.annotations_path, message));
    }
    let mut limits = Limits {
        timeout: watchdog.timeout,
        // A watchdog bounds the time alone.
        cpu_time: watchdog.timeout,
        cpu_millis: said.cpu_millis,
        concurrency: scaling.places(),
        ..Limits::default()
    };
    if let Some(memory) = said.memory {
        limits.memory = memory;
    }
    if watchdog.max_inflight.is_some() {
        // A watchdog has no queue.
        limits.queue = 0;
    }
    let process = said.process.as_deref();
    let args = args(process.or_else(|| said.env.get(PROCESS).map(String::as_str)));
    let image = said.image?;
    let extra = Extra {
        image: image.clone(),
        process: said.process,
        secrets: said.secrets.iter().map(ToString::to_string).collect(),
        constraints: said.constraints,
        limits: said.limits,
        requests: said.requests,
        read_only: said.read_only,
        scaled: None,
    };
    let mut metadata = Metadata { labels: said.labels, annotations: said.annotations };
    metadata.annotations.insert(MARK.to_owned(), extra.encode());
    let env = said.env.into_iter().collect();
    let grants = Grants { secrets: said.secrets.clone(), ..Grants::default() };
    let template =
        Template { io: Io::Stdio, args, env, limits, asynchronous, grants, ..Template::default() };
    check_words(&said.env_path, &template, problems);
    check_metadata(&said.annotations_path, &metadata, problems);
    let function = Function {
        name: name?,
        source: Source::Image(ImageSource {
            reference: image,
            command: vec![],
            pull_secrets: vec![],
        }),
        abi: None,
        template,
        routes: vec![],
        access: Access::default(),
        metadata,
    };
    Some(Meant { function, notes, secrets: said.secrets })
}

fn notes(said: &Said) -> Vec<String> {
    let mut notes = annotations::notes(&said.annotations);
    if !said.constraints.is_empty() {
        notes.push("constraints have no effect: there is one machine".to_owned());
    }
    if said.requests != Resources::default() {
        notes.push("requests have no effect: nothing is set aside on one machine".to_owned());
    }
    notes
}

/// The words after the program's own, cut at blanks as watchdogs cut them. The program is the
/// image's module, whatever it is called here.
fn args(process: Option<&str>) -> Vec<String> {
    let words = process.into_iter().flat_map(|text| text.split_whitespace().skip(1));
    words.map(str::to_owned).collect()
}

fn check_words(path: &str, template: &Template, problems: &mut Vec<FieldError>) {
    let args = template.args.iter().map(|arg| arg.len() + 1).sum::<usize>();
    let env = template.env.iter().map(|(name, value)| name.len() + value.len() + 2).sum::<usize>();
    if args + env > ARGS_AND_ENV {
        let message = format!(
            "arguments and environment hold {} bytes together; at most {ARGS_AND_ENV}",
            args + env
        );
        problems.push(FieldError::new(path, message));
    }
}

fn check_metadata(path: &str, metadata: &Metadata, problems: &mut Vec<FieldError>) {
    let size = metadata.size();
    if size > MOST_METADATA {
        let message = format!(
            "labels, annotations and what is kept beside them hold {size} bytes together; at most \
             {MOST_METADATA}"
        );
        problems.push(FieldError::new(path, message));
    }
}
