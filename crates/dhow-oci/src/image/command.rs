//! Which module an image starts, and with what.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::classify::printable;
use super::config::Start;
use super::error::PullError;
use super::layers::tree::{File, Found, Modules, Tree};
use super::pulled::Run;

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

/// What is started, by where it was said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Line {
    program: String,
    /// Of the entry point, or of the command in its place.
    words: Vec<String>,
    /// Of `CMD`.
    args: Vec<String>,
}

/// What is started; `None` where nothing is said. As Kubernetes has it, a command replaces the entry
/// point and the image's arguments.
fn line(start: &Start, command: &[String]) -> Option<Line> {
    // Kubernetes demands a command of images that have none; Spin's users write this one.
    let command = Some(command).filter(|command| *command != ["/"]);
    let entrypoint = start.entrypoint.as_deref();
    let cmd = start.cmd.as_deref();
    let (words, args) = [(command, None), (entrypoint, cmd), (None, cmd)]
        .into_iter()
        .find(|(words, args)| !words.or(*args).unwrap_or_default().is_empty())?;
    let (words, args) = (words.unwrap_or_default(), args.unwrap_or_default());
    match words.split_first() {
        Some((program, words)) => {
            Some(Line { program: program.clone(), words: words.to_vec(), args: args.to_vec() })
        }
        None => args.split_first().map(|(program, args)| Line {
            program: program.clone(),
            words: Vec::new(),
            args: args.to_vec(),
        }),
    }
}

/// How a module is started that is a layer of its own: the program's name says no more than which
/// export is meant.
pub fn run_layer(start: &Start, command: &[String]) -> Run {
    let line = line(start, command).unwrap_or_default();
    let export = export(&line.program).1.map(str::to_owned);
    run(start, line, export)
}

/// Chooses the module among an image's files.
///
/// # Errors
/// [`PullError::NotWasm`] when what it starts is another kind of program, or no file is a module.
/// [`PullError::NoEntry`] when there are modules and none is named.
pub fn choose(tree: &Tree, start: &Start, command: &[String]) -> Result<Chosen, PullError> {
    let modules =
        tree.modules().ok_or_else(|| PullError::NotWasm("no file in it is a module".to_owned()))?;
    let Some(line) = line(start, command) else {
        let warning = "the image names no entry point; its only module runs";
        return only(modules, start, Vec::new(), None, warning, "it names no entry point");
    };
    match named(tree, start, &line.program) {
        Some((path, Found::File(file), export)) if file.wasm => {
            let export = export.map(str::to_owned);
            let run = run(start, Line { program: rooted(&path), ..line }, export);
            Ok(Chosen { path, file, run, warnings: Vec::new() })
        }
        Some((_, Found::File(_), _)) if shell_text(&line).is_none() => Err(PullError::NotWasm(
            format!("it starts `{}`, which is no module", printable(&line.program)),
        )),
        there => match shell_text(&line) {
            Some(text) => through_shell(tree, start, modules, text, there.is_some()),
            None => {
                let program = printable(&line.program);
                Err(PullError::NoEntry(format!("there is no file `{program}`")))
            }
        },
    }
}

/// `/bin/sh -c TEXT`: what the shell form of ENTRYPOINT becomes. Where the image has no shell, or
/// the text begins with the module, the module was meant.
fn through_shell(
    tree: &Tree,
    start: &Start,
    modules: Modules,
    text: &str,
    has_shell: bool,
) -> Result<Chosen, PullError> {
    let (first, rest) =
        text.trim().split_once(char::is_whitespace).unwrap_or_else(|| (text.trim(), ""));
    let named = match named(tree, start, first) {
        Some((_, Found::File(file), export)) if file.wasm => Some(export),
        _ => None,
    };
    if has_shell && named.is_none() {
        return Err(PullError::NotWasm("it starts a shell".to_owned()));
    }
    let plain = named.is_some() && !rest.contains(|c: char| "\"'`\\$&|;<>()*?[]{}~#=!".contains(c));
    let (words, warning) = if plain {
        let words = rest.split_ascii_whitespace().map(str::to_owned).collect();
        (words, "the entry point is in shell form; the image's only module runs, without a shell")
    } else {
        (
            Vec::new(),
            "the entry point is in shell form and needs a shell; the image's only module runs \
             without one and without arguments",
        )
    };
    let export = named.flatten().map(str::to_owned);
    only(modules, start, words, export, warning, "its entry point is in shell form")
}

fn only(
    modules: Modules,
    start: &Start,
    words: Vec<String>,
    export: Option<String>,
    warning: &str,
    why: &str,
) -> Result<Chosen, PullError> {
    if modules.count > 1 {
        return Err(PullError::NoEntry(format!("{why} and it has {} modules", modules.count)));
    }
    let (path, file) = modules.first;
    let run = run(start, Line { program: rooted(&path), words, args: Vec::new() }, export);
    Ok(Chosen { path, file, run, warnings: vec![warning.to_owned()] })
}

fn run(start: &Start, line: Line, export: Option<String>) -> Run {
    let Line { program, words, args } = line;
    Run {
        program,
        words,
        args,
        env: start.environment(),
        working_dir: start.working_dir.clone().filter(|folder| !folder.is_empty()),
        export,
    }
}

/// The path from the root, as a command would name it.
fn rooted(path: &Path) -> String {
    Path::new("/").join(path).to_string_lossy().into_owned()
}

/// `path#function`, as runwasi has it. A command's own function is what is called anyway.
fn export(program: &str) -> (&str, Option<&str>) {
    match program.split_once('#') {
        Some((path, "" | "_start")) => (path, None),
        Some((path, function)) => (path, Some(function)),
        None => (program, None),
    }
}

/// What `program` leads to, as a file's whole name or else as `path#function`, and the function.
fn named<'p>(
    tree: &Tree,
    start: &Start,
    program: &'p str,
) -> Option<(PathBuf, Found, Option<&'p str>)> {
    if let Some((path, found)) = program_at(tree, start, program) {
        return Some((path, found, None));
    }
    let (path, export) = export(program);
    program_at(tree, start, path).map(|(path, found)| (path, found, export))
}

fn shell_text(line: &Line) -> Option<&str> {
    let mut rest = line.words.iter().chain(&line.args);
    let is_shell = matches!(line.program.as_str(), "/bin/sh" | "sh");
    (is_shell && rest.next()? == "-c").then(|| rest.next().map(String::as_str))?
}

/// What `program` leads to: from the working folder, from the root, then on the `PATH`.
fn program_at(tree: &Tree, start: &Start, program: &str) -> Option<(PathBuf, Found)> {
    if program.is_empty() || program == "/" || program.len() > tree.longest_path() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::budget::Budget;
    use crate::image::layers::members::{Kind, Member};
    use crate::image::layers::tree::At;

    /// An image of files; those that end in `.wasm` are modules.
    fn tree(paths: &[&str]) -> Tree {
        let mut tree = Tree::new(&Budget::default());
        for (entry, path) in paths.iter().enumerate() {
            let member = Member { path: path.into(), kind: Kind::File(1), offset: 0 };
            tree.apply(&member, At { layer: 0, entry }, path.ends_with(".wasm")).unwrap();
        }
        tree
    }

    fn list(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    fn words(words: &[&str]) -> Option<Vec<String>> {
        Some(list(words))
    }

    fn start(entrypoint: &[&str], cmd: &[&str]) -> Start {
        Start { entrypoint: words(entrypoint), cmd: words(cmd), ..Start::default() }
    }

    fn chosen(paths: &[&str], start: &Start, command: &[&str]) -> Result<Chosen, &'static str> {
        choose(&tree(paths), start, &list(command)).map_err(|error| error.reason())
    }

    #[test]
    fn the_entry_point_names_the_module_its_arguments_and_its_export() {
        let image = ["app/a.wasm", "app/b.wasm"];
        let found = chosen(&image, &start(&["/app/b.wasm#go", "x"], &["y"]), &[]);
        let found = found.unwrap();
        assert_eq!(found.path, Path::new("/app/b.wasm"));
        assert_eq!(found.run.program, "/app/b.wasm");
        assert_eq!((found.run.words, found.run.args), (list(&["x"]), list(&["y"])));
        assert_eq!(found.run.export.as_deref(), Some("go"));
        assert_eq!(found.warnings, [""; 0]);
        let mut relative = start(&[], &["./a.wasm"]);
        relative.working_dir = Some("/app".to_owned());
        assert_eq!(chosen(&image, &relative, &[]).unwrap().file.at.entry, 0);
        let mut on_path = start(&["a.wasm"], &[]);
        on_path.env = words(&["PATH=/bin:/app"]);
        assert_eq!(chosen(&image, &on_path, &[]).unwrap().file.at.entry, 0);
    }

    #[test]
    fn a_command_replaces_both_and_chooses_among_several() {
        let image = ["a.wasm", "b.wasm"];
        let own = start(&["/a.wasm", "w"], &["x"]);
        let told = |own: &Start, command: &[&str]| {
            let found = chosen(&image, own, command).unwrap();
            (found.file.at.entry, found.run.words, found.run.args)
        };
        assert_eq!(told(&own, &[]), (0, list(&["w"]), list(&["x"])));
        assert_eq!(told(&own, &["/"]), (0, list(&["w"]), list(&["x"])));
        assert_eq!(told(&own, &["/b.wasm"]), (1, vec![], vec![]));
        assert_eq!(told(&own, &["b.wasm", "v"]), (1, list(&["v"]), vec![]));
        assert_eq!(told(&start(&[], &["/b.wasm", "x"]), &[]), (1, vec![], list(&["x"])));
        assert_eq!(chosen(&image, &Start::default(), &[]), Err("no-entry"));
        assert_eq!(told(&Start::default(), &["/b.wasm"]), (1, vec![], vec![]));
        // What was chosen is named so that it is chosen again.
        let again = chosen(&image, &own, &[]).unwrap().run.program;
        assert_eq!(told(&own, &[&again]), (0, vec![], vec![]));
    }

    #[test]
    fn the_only_module_runs_where_the_shell_form_or_nothing_is_written() {
        let mangled = start(&["/bin/sh", "-c", "/app.wasm one two"], &[]);
        let found = chosen(&["app.wasm", "data"], &mangled, &[]).unwrap();
        assert_eq!((found.run.words.len(), found.warnings.len()), (2, 1));
        assert_eq!(found.run.program, "/app.wasm");
        let quoted = start(&["/bin/sh", "-c", "/app.wasm \"$X\""], &[]);
        let found = chosen(&["app.wasm"], &quoted, &[]).unwrap();
        assert_eq!((found.run.words.len(), found.warnings.len()), (0, 1));
        let found = chosen(&["app.wasm", "bin/sh"], &mangled, &[]).unwrap();
        assert_eq!(found.path, Path::new("app.wasm"));
        assert_eq!(chosen(&["a.wasm", "b.wasm"], &mangled, &[]), Err("no-entry"));
        assert_eq!(chosen(&["app.wasm"], &Start::default(), &[]).unwrap().warnings.len(), 1);
        assert_eq!(chosen(&["a.wasm", "b.wasm"], &Start::default(), &[]), Err("no-entry"));
    }

    #[test]
    fn a_program_of_another_kind_is_no_module_though_one_lies_beside_it() {
        let node = start(&["/usr/bin/node", "x.js"], &[]);
        assert_eq!(chosen(&["usr/bin/node", "lib/x.wasm"], &node, &[]), Err("not-wasm"));
        assert_eq!(chosen(&["lib/x.wasm"], &node, &[]), Err("no-entry"));
        assert_eq!(chosen(&["usr/bin/node"], &node, &[]), Err("not-wasm"));
        let shell = start(&["/bin/sh", "-c", "exec node"], &[]);
        assert_eq!(chosen(&["bin/sh", "lib/x.wasm"], &shell, &[]), Err("not-wasm"));
    }

    #[test]
    fn a_hash_is_a_files_own_where_there_is_such_a_file() {
        let export = |paths: &[&str], program: &str| {
            chosen(paths, &start(&[program], &[]), &[]).unwrap().run.export
        };
        assert_eq!(export(&["a.wasm"], "/a.wasm#go").as_deref(), Some("go"));
        for default in ["/a.wasm#_start", "/a.wasm#", "/a.wasm"] {
            assert_eq!(export(&["a.wasm"], default), None, "{default}");
        }
        assert_eq!(export(&["a#b.wasm"], "/a#b.wasm"), None);
        let mangled = start(&["/bin/sh", "-c", "/a#b.wasm one"], &[]);
        assert_eq!(chosen(&["a#b.wasm"], &mangled, &[]).unwrap().run.export, None);
        assert_eq!(run_layer(&Start::default(), &list(&["/app.wasm#_start"])).export, None);
    }

    #[test]
    fn a_module_that_is_a_layer_takes_arguments_and_an_export() {
        let run = run_layer(&Start::default(), &list(&["/app.wasm#go", "x"]));
        assert_eq!((run.export.as_deref(), run.words), (Some("go"), list(&["x"])));
    }
}
