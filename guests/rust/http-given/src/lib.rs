//! Tells what it was given. Each line of the body asks for one thing and is answered by a line:
//! `FILE PATH` a file's content, `LIST PATH` the names in a folder, `WRITE PATH` whether it can be
//! written to, `ENV NAME` a variable, `KEY NAME` a key of wasi:config, `KEYS` all its keys.

use std::fs;

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

mod config {
    wit_bindgen::generate!({
        inline: "
            package dhow:given;
            world given { import wasi:config/store@0.2.0-rc.1; }
            package wasi:config@0.2.0-rc.1 {
                interface store {
                    variant error { upstream(string), io(string) }
                    get: func(key: string) -> result<option<string>, error>;
                    get-all: func() -> result<list<tuple<string, string>>, error>;
                }
            }
        ",
        generate_all,
    });
}

use config::wasi::config::store;

struct Told;

wasip2::http::proxy::export!(Told);

impl Guest for Told {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let body = request.consume().expect("the first consumer");
        let stream = body.stream().expect("the first stream");
        let mut asked = Vec::new();
        while let Ok(chunk) = stream.blocking_read(4096) {
            asked.extend(chunk);
        }
        let asked = String::from_utf8(asked).expect("text");
        let told: String = asked.lines().map(|line| tell(line) + "\n").collect();
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("the first body");
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().expect("the first stream");
        for chunk in told.as_bytes().chunks(4096) {
            stream.blocking_write_and_flush(chunk).expect("a client that listens");
        }
        drop(stream);
        OutgoingBody::finish(body, None).expect("a whole body");
    }
}

fn tell(line: &str) -> String {
    let (what, name) = line.split_once(' ').unwrap_or((line, ""));
    match what {
        "FILE" => fs::read_to_string(name).unwrap_or_else(|error| format!("{:?}", error.kind())),
        "LIST" => fs::read_dir(name).map_or_else(
            |error| format!("{:?}", error.kind()),
            |entries| {
                let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
                let mut names: Vec<_> = entries.flatten().map(name).collect();
                names.sort();
                names.join(" ")
            },
        ),
        "WRITE" => fs::write(name, "written")
            .map_or_else(|error| format!("{:?}", error.kind()), |()| "written".to_owned()),
        "ENV" => std::env::var(name).unwrap_or_default(),
        "KEY" => match store::get(name) {
            Ok(value) => value.unwrap_or_else(|| "none".to_owned()),
            Err(error) => format!("{error:?}"),
        },
        "KEYS" => match store::get_all() {
            Ok(all) => all.into_iter().map(|(key, _)| key).collect::<Vec<_>>().join(" "),
            Err(error) => format!("{error:?}"),
        },
        _ => "what?".to_owned(),
    }
}
