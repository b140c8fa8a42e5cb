//! Completion in real shells: somebody at a terminal types, presses Tab and Return.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::rig::{DHOW, NO_SETTINGS, Server, text};

/// A shell at a terminal of its own, with dhow in its `PATH`.
struct Shell {
    script: Child,
    keyboard: ChildStdin,
    seen: Arc<Mutex<String>>,
    /// What of it was waited for already.
    read: usize,
}

impl Shell {
    fn start(command: &str, server: &str, home: &Path) -> Self {
        // `script` gives its command a terminal, and types what comes in.
        let mut script = Command::new("script");
        script.args(["-qec", command, "/dev/null"]).env_clear();
        script.envs([("PATH", path().as_str()), ("TERM", "dumb"), ("DHOW_SERVER", server)]);
        script.envs([
            ("HOME", home.to_str().unwrap()),
            ("DHOW_CONFIG", NO_SETTINGS),
            ("PS1", "> "),
        ]);
        let mut script = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (keyboard, mut screen) = (script.stdin.take().unwrap(), script.stdout.take().unwrap());
        let seen = Arc::new(Mutex::new(String::new()));
        let shown = seen.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = screen.read(&mut buffer) {
                shown.lock().push_str(&text(&buffer[..length]));
            }
        });
        let mut shell = Self { script, keyboard, seen, read: 0 };
        shell.waits_for("> ");
        shell
    }

    fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }

    /// Waits until `mark` stands on the terminal, after what was waited for before.
    #[track_caller]
    fn waits_for(&mut self, mark: &str) {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(at) = self.seen.lock()[self.read..].find(mark) {
                self.read += at + mark.len();
                return;
            }
            assert!(Instant::now() < until, "{mark:?} does not come:\n{}", self.seen.lock());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.script.kill());
        drop(self.script.wait());
    }
}

/// dhow's folder before all others.
fn path() -> String {
    let bin = Path::new(DHOW).parent().unwrap();
    format!("{}:{}", bin.display(), std::env::var_os("PATH").unwrap().display())
}

fn with_functions() -> Server {
    let server = Server::start();
    server.deploy_as("hello-world", "hello", &[]);
    server.deploy_as("greeter", "hello", &["--namespace", "shop"]);
    server
}

#[test]
fn bash_completes_verbs_options_functions_and_namespaces() {
    let (server, home) = (with_functions(), tempfile::tempdir().unwrap());
    let mut bash = Shell::start("bash --norc --noprofile -i", &server.admin, home.path());
    bash.types("source <(dhow completions bash); echo rea''dy\r");
    bash.waits_for("ready");
    for (steps, answer) in [
        (&[("dhow desc\t", "describe "), ("hel\t", "hello-world")][..], "Namespace:  default"),
        (&[("dhow describe gre\t", "greeter.shop")], "Namespace:  shop"),
        (&[("dhow versions hel\t", "hello-world")], "CURRENT"),
        (&[("dhow list --namesp\t", "--namespace"), (" sh\t", "shop")], "greeter"),
        (&[("dhow describe -n shop g\t", "greeter")], "Namespace:  shop"),
    ] {
        for (keys, completed) in steps {
            bash.types(keys);
            bash.waits_for(completed);
        }
        bash.types("\r");
        bash.waits_for(answer);
        bash.waits_for("> ");
    }
}

#[test]
fn zsh_completes_functions() {
    let (server, home) = (with_functions(), tempfile::tempdir().unwrap());
    let mut zsh = Shell::start("zsh --no-rcs -i", &server.admin, home.path());
    zsh.types(
        "autoload -Uz compinit && compinit -u && source <(dhow completions zsh); echo rea''dy\r",
    );
    zsh.waits_for("ready\r\n");
    zsh.types("dhow describe hel\t");
    zsh.waits_for("hello-world");
    zsh.types("\r");
    zsh.waits_for("Namespace:  default");
}

#[test]
fn fish_completes_functions() {
    let server = with_functions();
    // Fish tells its completions without a terminal.
    let completions = |line: &str| {
        let script = format!("dhow completions fish | source; complete -C '{line}'");
        let output = Command::new("fish")
            .args(["--no-config", "-c", &script])
            .env_clear()
            .envs([("PATH", path().as_str()), ("DHOW_SERVER", &server.admin), ("HOME", "/nowhere")])
            .env("DHOW_CONFIG", NO_SETTINGS)
            .output()
            .expect("this test needs fish");
        text(&output.stdout)
    };
    let seen = completions("dhow describe ");
    assert!(seen.contains("hello-world\tcommand, revision 1"), "{seen}");
    assert!(seen.contains("greeter.shop"), "{seen}");
    assert!(completions("dhow li").contains("list"), "verbs");
}

#[test]
fn completion_is_silent_when_the_server_is_away() {
    let words = ["dhow", "describe", "hel"];
    let output = Command::new(DHOW)
        .args(["--"])
        .args(words)
        .env_clear()
        .envs([("DHOW_COMPLETE", "bash"), ("_CLAP_COMPLETE_INDEX", "2"), ("_CLAP_IFS", "\n")])
        .envs([("DHOW_SERVER", "http://127.0.0.1:1"), ("DHOW_CONFIG", NO_SETTINGS)])
        .output()
        .unwrap();
    assert!(output.status.success());
    assert_eq!((text(&output.stdout), text(&output.stderr)), (String::new(), String::new()));
}

#[test]
fn each_shell_has_a_script() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = Command::new(DHOW).args(["completions", shell]).output().unwrap();
        assert!(output.status.success(), "{shell}");
        assert!(text(&output.stdout).contains("DHOW_COMPLETE"), "{shell}");
    }
    let output = Command::new(DHOW).args(["completions", "basch"]).output().unwrap();
    assert!(text(&output.stderr).contains("'bash'"), "{}", text(&output.stderr));
}
