//! Which module an image starts, and with what.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::classify::printable;
use super::config::Start;
use super::error::PullError;
use super::layers::tree::{File, Found, Tree};
use super::pulled::Run;

/// What a user says over the image, as Kubernetes has it: a command replaces the entry point and
/// the image's arguments, arguments replace the image's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Override {
    /// Instead of `ENTRYPOINT`. `["/"]` is a placeholder and says nothing.
    pub command: Option<Vec<String>>,
    /// Instead of `CMD`.
    pub args: Option<Vec<String>>,
}

/// The file of an image that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// Its path in the image, from the root.
    pub path: PathBuf,
    /// The file.
    pub file: File,
    /// How it is started.
    pub run: Run,
    /// What a user should hear.
    pub warnings: Vec<String>,
}

/// What is started, the program first; empty where nothing is said.
pub fn line(start: &Start, over: &Override) -> Vec<String> {
    // Kubernetes demands a command of images that have none; Spin's users write this one.
    let command =
        over.command.as_ref().filter(|command| command[..] != ["/"] && !command.is_empty());
    let (first, rest) = match (command, &over.args) {
        (Some(command), args) => (Some(command), args.as_ref()),
        (None, Some(args)) => (start.entrypoint.as_ref(), Some(args)),
        (None, None) => (start.entrypoint.as_ref(), start.cmd.as_ref()),
    };
    first.into_iter().chain(rest).flatten().cloned().collect()
}

/// How a module is started that is a layer of its own: the program's name says no more than which
/// export is meant.
pub fn run_layer(start: &Start, over: &Override) -> Run {
    let mut words = line(start, over).into_iter();
    let export = words.next().and_then(|program| export(&program).1.map(str::to_owned));
    run(start, words.collect(), export)
}

/// Chooses the module among an image's files.
///
/// # Errors
/// [`PullError::NotWasm`] when what it starts is another kind of program, or no file is a module.
/// [`PullError::NoEntry`] when there are modules and none is named.
pub fn choose(tree: &Tree, start: &Start, over: &Override) -> Result<Chosen, PullError> {
    let modules = tree.files(|file| file.wasm);
    if modules.is_empty() {
        return Err(PullError::NotWasm("no file in it is a module".to_owned()));
    }
    let words = line(start, over);
    let Some((program, args)) = words.split_first() else {
        let warning = "the image names no entry point; its only module runs";
        return only(modules, run(start, Vec::new(), None), warning, "it names no entry point");
    };
    let (path, export) = export(program);
    match program_at(tree, start, path).or_else(|| program_at(tree, start, program)) {
        Some((path, Found::File(file))) if file.wasm => Ok(Chosen {
            path,
            file,
            run: run(start, args.to_vec(), export.map(str::to_owned)),
            warnings: Vec::new(),
        }),
        Some((_, Found::File(_))) if shell_text(&words).is_none() => Err(PullError::NotWasm(
            format!("it starts `{}`, which is no module", printable(program)),
        )),
        there => match shell_text(&words) {
            Some(text) => through_shell(tree, start, modules, text, there.is_some()),
            None => Err(PullError::NoEntry(format!("there is no file `{}`", printable(program)))),
        },
    }
}

/// `/bin/sh -c TEXT`: what the shell form of ENTRYPOINT becomes. Where the image has no shell, or
/// the text begins with the module, the module was meant.
fn through_shell(
    tree: &Tree,
    start: &Start,
    modules: Vec<(PathBuf, File)>,
    text: &str,
    has_shell: bool,
) -> Result<Chosen, PullError> {
    let mut words = text.split_ascii_whitespace();
    let (program, export) = export(words.next().unwrap_or_default());
    let named = match program_at(tree, start, program) {
        Some((_, Found::File(file))) if file.wasm => Some(file),
        _ => None,
    };
    if has_shell && named.is_none() {
        return Err(PullError::NotWasm("it starts a shell".to_owned()));
    }
    let plain = named.is_some() && !text.contains(|c: char| "\"'`\\$&|;<>()*?[]{}~#=!".contains(c));
    let (args, warning) = if plain {
        let args = words.map(str::to_owned).collect();
        (args, "the entry point is in shell form; the image's only module runs, without a shell")
    } else {
        (
            Vec::new(),
            "the entry point is in shell form and needs a shell; the image's only module runs \
             without one and without arguments",
        )
    };
    let export = named.and(export).map(str::to_owned);
    only(modules, run(start, args, export), warning, "its entry point is in shell form")
}

fn only(
    modules: Vec<(PathBuf, File)>,
    run: Run,
    warning: &str,
    why: &str,
) -> Result<Chosen, PullError> {
    match <[_; 1]>::try_from(modules) {
        Ok([(path, file)]) => Ok(Chosen { path, file, run, warnings: vec![warning.to_owned()] }),
        Err(modules) => {
            Err(PullError::NoEntry(format!("{why} and it has {} modules", modules.len())))
        }
    }
}

fn run(start: &Start, args: Vec<String>, export: Option<String>) -> Run {
    Run {
        args,
        env: start.environment(),
        working_dir: start.working_dir.clone().filter(|folder| !folder.is_empty()),
        export,
    }
}

/// `path#function`, as runwasi has it.
fn export(program: &str) -> (&str, Option<&str>) {
    match program.split_once('#') {
        Some((path, function)) if !function.is_empty() => (path, Some(function)),
        Some((path, _)) => (path, None),
        None => (program, None),
    }
}

fn shell_text(words: &[String]) -> Option<&str> {
    match words {
        [shell, flag, text, ..] if matches!(shell.as_str(), "/bin/sh" | "sh") && flag == "-c" => {
            Some(text)
        }
        _ => None,
    }
}

/// What `program` leads to: from the working folder, from the root, then on the `PATH`.
fn program_at(tree: &Tree, start: &Start, program: &str) -> Option<(PathBuf, Found)> {
    if program.is_empty() || program == "/" {
        return None;
    }
    let folder = Path::new(start.working_dir.as_deref().unwrap_or("/"));
    let search = start.environment().into_iter().find(|(name, _)| name == "PATH");
    let search = search.map(|(_, folders)| folders).unwrap_or_default();
    let on_path = search.split(':').filter(|_| !program.contains('/'));
    [folder, Path::new("/")]
        .into_iter()
        .chain(on_path.map(Path::new))
        .map(|folder| folder.join(OsStr::from_bytes(program.as_bytes())))
        .find_map(|path| match tree.find(&path)? {
            Found::Folder => None,
            found => Some((path, found)),
        })
}
