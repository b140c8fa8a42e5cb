//! The one binary. Looks at its own name first: a child that compiles is this program too, and
//! must do nothing else.

use std::process::ExitCode;

use dhow_engine::compile::worker;

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    if name == worker::WORKER_NAME {
        return worker::main(args, std::io::stdout().lock());
    }
    ExitCode::SUCCESS
}
