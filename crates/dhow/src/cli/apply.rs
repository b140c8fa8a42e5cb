//! `dhow apply -f …`: everything that manifests say, or nothing of it.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use dhow_core::function::{Function, Source};
use dhow_core::name::{FunctionName, Label};
use dhow_core::plan::routes::{self, Reach};
use dhow_dialects::manifest::{self, Surroundings};
use dhow_dialects::problem::FieldError;
use dhow_dialects::{document, native};
use serde_json::Value;

use super::changes::{self, Change};
use super::client::Client;
use super::error::CommandError;
use super::output::Output;
use super::settings::{Settings, environment, short_name};
use super::upload::{self, Module, Taken};
use super::wire::FunctionStatus;
use crate::images::place::Place;

/// What was typed.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// A manifest, a folder of them (*.yaml, *.yml, *.json), or - for stdin; may be repeated
    #[arg(long = "file", short, value_name = "FILE|DIR|-", required = true)]
    pub files: Vec<PathBuf>,
    /// Tell what would be created or changed, field by field, and deploy nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// A function of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Declared {
    pub(super) function: Function,
    /// The manifest, as it is called to the person.
    manifest: String,
    /// What the paths in it are relative to.
    folder: PathBuf,
    /// What of it has no effect, in words.
    notes: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// What went wrong. Manifests and modules are looked at, and the server is asked about every
/// function, before any is deployed. Should the server refuse one all the same, because somebody
/// else deployed in between or its disk is full, those before it are deployed and named.
pub fn run(args: &Args, settings: &Settings, output: &mut Output) -> Result<(), CommandError> {
    let client = Client::new(settings);
    let functions = prepare(&args.files, settings, &client, output)?;
    let planned = rehearse(&functions, &client)?;
    if args.dry_run {
        return show(&planned, output);
    }
    for function in &functions {
        upload::put_in_force(function, &client, output)
            .map_err(|error| naming(&function.name, error))?;
    }
    Ok(())
}

/// What the manifests declare, with their modules sent.
pub(super) fn prepare(
    files: &[PathBuf],
    settings: &Settings,
    client: &Client,
    output: &mut Output,
) -> Result<Vec<Function>, CommandError> {
    let declared = read(files, &settings.namespace())?;
    for one in &declared {
        for note in &one.notes {
            output.note(format_args!("warning: {}: {note}", short_name(&one.function.name)));
        }
    }
    let modules = open_modules(&declared, output)?;
    let mut taken: HashMap<PathBuf, Taken> = HashMap::new();
    for (path, module) in modules {
        taken.insert(path, module.upload(client, output)?);
    }
    let mut functions = Vec::with_capacity(declared.len());
    for one in declared {
        let taken = module_path(&one).and_then(|path| taken.get(&path).cloned());
        let mut function = one.function;
        match taken {
            Some(taken) => taken.give(&mut function),
            None => upload::pull(&mut function, client, output)
                .map_err(|error| naming(&function.name, error))?,
        }
        functions.push(function);
    }
    Ok(functions)
}

/// What would become of a function.
pub(super) struct Planned<'a> {
    pub(super) name: &'a FunctionName,
    /// The revision in force; `None` when it is not deployed.
    pub(super) revision: Option<u64>,
    /// The manifest of what is deployed.
    before: Option<Value>,
    /// The manifest of what would be.
    after: Value,
}

impl Planned<'_> {
    pub(super) fn changes(&self) -> Vec<Change> {
        changes::between(self.before.as_ref(), Some(&self.after))
    }
}

/// Asks the server what it would make of each function, whose code it holds; it changes nothing.
pub(super) fn rehearse<'a>(
    functions: &'a [Function],
    client: &Client,
) -> Result<Vec<Planned<'a>>, CommandError> {
    let mut deployed: HashMap<(String, String), FunctionStatus> = HashMap::new();
    for one in client.functions(None)?.read.items {
        deployed.insert((one.namespace.clone(), one.name.clone()), one);
    }
    let rehearse = |function: &'a Function| {
        let name = &function.name;
        let answer = client.rehearse(name, &native::encode(function));
        let after = answer.map_err(|error| naming(name, error))?.read.manifest;
        let before = deployed.remove(&(name.namespace.to_string(), name.name.to_string()));
        let revision = before.as_ref().map(|before| before.revision);
        Ok(Planned { name, revision, before: before.map(|before| before.manifest), after })
    };
    functions.iter().map(rehearse).collect()
}

/// Tells what would be done.
fn show(planned: &[Planned<'_>], output: &mut Output) -> Result<(), CommandError> {
    for one in planned {
        let changes = one.changes();
        let shown = short_name(one.name);
        match one.revision {
            None => output.line(format_args!("{shown}: would be created"))?,
            Some(_) if changes.is_empty() => {
                output.line(format_args!("{shown}: would stay as it is"))?;
            }
            Some(revision) => {
                output.line(format_args!("{shown}: would be changed, from revision {revision}"))?;
            }
        }
        changes::print(&changes, output)?;
    }
    output.note("nothing was deployed");
    Ok(())
}

/// Every function of every manifest; a name stands once.
///
/// # Errors
/// Everything that is wrong with any of them.
pub(super) fn read(files: &[PathBuf], namespace: &Label) -> Result<Vec<Declared>, CommandError> {
    let mut declared: Vec<Declared> = Vec::new();
    let mut problems = Vec::new();
    for file in files {
        for (name, folder, text) in texts(file)? {
            let file = |name: &str| beside(&folder, name);
            let around = Surroundings { namespace, variable: &environment, file: &file };
            match manifest::parse(&text, around) {
                Ok(found) => declared.extend(found.into_iter().map(|one| Declared {
                    function: one.function,
                    manifest: name.clone(),
                    folder: folder.clone(),
                    notes: one.notes,
                })),
                Err(found) => problems.extend(found.fields.into_iter().map(|field| {
                    let separator = if field.path.is_empty() { "" } else { ": " };
                    FieldError::new(format!("{name}{separator}{}", field.path), field.message)
                })),
            }
        }
    }
    problems.extend(declared_twice(&declared));
    problems.extend(contested(&declared));
    if !problems.is_empty() {
        return Err(CommandError::failure("nothing was applied, since a manifest is wrong")
            .fields(problems));
    }
    if declared.is_empty() {
        return Err(CommandError::failure("there is no function in what was given"));
    }
    Ok(declared)
}

/// The text of a file that a manifest in `folder` names.
fn beside(folder: &Path, name: &str) -> Result<String, String> {
    let path = folder.join(name);
    let file = File::open(&path).map_err(|error| error.to_string())?;
    text(file, &path.display().to_string()).map_err(|error| error.message)
}

fn declared_twice(declared: &[Declared]) -> Vec<FieldError> {
    let mut first: HashMap<&FunctionName, &str> = HashMap::new();
    let mut problems = Vec::new();
    for one in declared {
        match first.get(&one.function.name) {
            None => drop(first.insert(&one.function.name, &one.manifest)),
            Some(earlier) => problems.push(FieldError::new(
                one.manifest.as_str(),
                format!("`{}` is declared in {earlier} already", one.function.name),
            )),
        }
    }
    problems
}

/// Routes that two of the functions claim; the server sees one function at a time.
fn contested(declared: &[Declared]) -> Vec<FieldError> {
    let mut problems = Vec::new();
    for (nth, one) in declared.iter().enumerate() {
        let earlier = declared[..nth].iter().map(|other| &other.function);
        let earlier = earlier.map(|other| (&other.name, &other.routes[..]));
        if let Err(conflict) =
            routes::check(earlier, &one.function.name, &one.function.routes, Reach::Everywhere)
        {
            let path = format!("{}: {}: spec.routes", one.manifest, one.function.name);
            problems.push(FieldError::new(path, conflict.to_string()));
        }
    }
    problems
}

/// What a manifest is called, what its paths are relative to, and its text.
type Text = (String, PathBuf, String);

/// The manifests that `file` means.
fn texts(file: &Path) -> Result<Vec<Text>, CommandError> {
    let shown = file.display();
    if file == Path::new("-") {
        let text = text(io::stdin(), "stdin")?;
        return Ok(vec![("stdin".to_owned(), PathBuf::new(), text)]);
    }
    let unreadable = |error| CommandError::file("the manifest", &shown, &error);
    if !fs::metadata(file).map_err(unreadable)?.is_dir() {
        let text = text(File::open(file).map_err(unreadable)?, &shown.to_string())?;
        let folder = file.parent().map(Path::to_owned).unwrap_or_default();
        return Ok(vec![(shown.to_string(), folder, text)]);
    }
    let mut manifests = Vec::new();
    for entry in fs::read_dir(file).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if matches!(extension, Some("yaml" | "yml" | "json")) && path.is_file() {
            manifests.push(path);
        }
    }
    if manifests.is_empty() {
        return Err(CommandError::failure(format!("there is no manifest in `{shown}`"))
            .hint("a manifest there is a file *.yaml, *.yml or *.json"));
    }
    // A folder is read in the order that a person sees.
    manifests.sort();
    let mut all = Vec::new();
    for manifest in manifests {
        all.extend(texts(&manifest)?);
    }
    Ok(all)
}

/// At most what is read of a manifest, and a byte to tell that there was more.
fn text(reader: impl Read, shown: &str) -> Result<String, CommandError> {
    let mut bytes = Vec::new();
    reader
        .take(document::MOST_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| CommandError::file("the manifest", shown, &error))?;
    if bytes.len() > document::MOST_BYTES {
        return Err(CommandError::failure(format!(
            "the manifest `{shown}` has more than {} bytes",
            document::MOST_BYTES
        )));
    }
    String::from_utf8(bytes)
        .map_err(|_| CommandError::failure(format!("the manifest `{shown}` is not UTF-8 text")))
}

fn module_path(one: &Declared) -> Option<PathBuf> {
    match &one.function.source {
        Source::Path(path) => Some(one.folder.join(path)),
        Source::Blob { .. } | Source::Image(_) => None,
    }
}

/// Every module that is named, once, in an order that does not change.
fn open_modules(
    declared: &[Declared],
    output: &mut Output,
) -> Result<BTreeMap<PathBuf, Module>, CommandError> {
    let mut modules = BTreeMap::new();
    let mut problems = Vec::new();
    for one in declared {
        let Some(path) = module_path(one) else { continue };
        if modules.contains_key(&path) {
            continue;
        }
        match Place::of_path(&path).and_then(|place| Module::at(&place, &[], output)) {
            Ok(module) => drop(modules.insert(path, module)),
            Err(error) => problems.push(FieldError::new(
                format!("{}: {}: spec.source.path", one.manifest, one.function.name),
                error.message,
            )),
        }
    }
    if problems.is_empty() {
        Ok(modules)
    } else {
        Err(CommandError::failure("nothing was applied, since a module is not there")
            .fields(problems))
    }
}

fn naming(name: &FunctionName, mut error: CommandError) -> CommandError {
    if !error.message.is_empty() {
        error.message = format!("{name}: {}", error.message);
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::tests::kept;

    fn manifest(name: &str, path: &str) -> String {
        format!(
            "apiVersion: dhow.dev/v1alpha1\nkind: Function\nmetadata: {{name: {name}}}\n\
             spec: {{source: {{path: {path}}}}}\n"
        )
    }

    fn read_one(path: &Path) -> Result<Vec<Declared>, CommandError> {
        read(&[path.to_owned()], &Label::default_namespace())
    }

    fn names(declared: &[Declared]) -> Vec<String> {
        declared.iter().map(|one| one.function.name.to_string()).collect()
    }

    #[test]
    fn a_folder_is_all_its_manifests_in_order() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("b.yml"), manifest("b", "b.wasm")).unwrap();
        let two = format!("{}---\n{}", manifest("a", "a.wasm"), manifest("c", "../c.wasm"));
        fs::write(folder.path().join("a.yaml"), two).unwrap();
        fs::write(folder.path().join("notes.txt"), "not: [a manifest").unwrap();
        fs::create_dir(folder.path().join("deeper.yaml")).unwrap();
        let declared = read_one(folder.path()).unwrap();
        assert_eq!(names(&declared), ["a.default", "c.default", "b.default"]);
        assert_eq!(module_path(&declared[1]).unwrap(), folder.path().join("../c.wasm"));
    }

    #[test]
    fn everything_wrong_in_every_file_is_named_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
        write("a.yaml", manifest("A", "a.wasm"));
        write("b.yaml", format!("{}---\n{}", manifest("b", "b"), manifest("c", "''")));
        write("c.yaml", "a: [".to_owned());
        write("d.yaml", manifest("d", "d.wasm"));
        write("e.yaml", manifest("d", "d.wasm"));
        let error = read_one(folder.path()).unwrap_err();
        let shown = folder.path().display();
        let begin = |part: &str| format!("{shown}/{part}");
        for (line, part) in error.details.iter().zip([
            "a.yaml: metadata.name: ",
            "b.yaml: document 2: spec.source.path: ",
            "c.yaml: line 1, column",
            "e.yaml: `d.default` is declared in ",
        ]) {
            assert!(line.starts_with(&begin(part)), "{line}");
        }
        assert_eq!(error.details.len(), 4);
    }

    #[test]
    fn missing_modules_are_all_named_before_anything_is_sent() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("all.yaml");
        fs::write(folder.path().join("there.wasm"), "").unwrap();
        let documents =
            [manifest("a", "there.wasm"), manifest("b", "x.wasm"), manifest("c", "y.wasm")];
        fs::write(&file, documents.join("---\n")).unwrap();
        let error = open_modules(&read_one(&file).unwrap(), &mut kept(false).0).unwrap_err();
        assert_eq!(error.details.len(), 2);
        assert!(error.details[0].contains("b.default: spec.source.path"), "{error:?}");
    }

    #[test]
    fn a_module_that_several_functions_name_is_opened_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("all.yaml");
        fs::write(folder.path().join("m.wasm"), "").unwrap();
        fs::write(&file, format!("{}---\n{}", manifest("a", "m.wasm"), manifest("b", "m.wasm")))
            .unwrap();
        let modules = open_modules(&read_one(&file).unwrap(), &mut kept(false).0);
        assert_eq!(modules.unwrap().len(), 1);
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read_one(folder.path()).unwrap_err().message.contains("no manifest"));
        let file = folder.path().join("a.yaml");
        assert!(read_one(&file).unwrap_err().message.contains("can't be read"));
        fs::write(&file, "# nothing\n").unwrap();
        assert!(read_one(&file).unwrap_err().message.contains("no function"));
        fs::write(&file, [0xff, 0xfe]).unwrap();
        assert!(read_one(&file).unwrap_err().message.contains("UTF-8"));
        fs::write(&file, vec![b' '; document::MOST_BYTES + 1]).unwrap();
        assert!(read_one(&file).unwrap_err().message.contains("more than"));
    }
}
