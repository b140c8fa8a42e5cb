//! A wasi:cli 0.2 command as a component: prints its arguments and its environment, one a line, then
//! copies stdin to stdout.

use std::io;

fn main() -> io::Result<()> {
    for (n, argument) in std::env::args().enumerate() {
        println!("argv[{n}]={argument}");
    }
    for (name, value) in std::env::vars() {
        println!("{name}={value}");
    }
    io::copy(&mut io::stdin().lock(), &mut io::stdout().lock())?;
    Ok(())
}
