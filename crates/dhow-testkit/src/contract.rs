//! `docs/openapi.yaml` as a contract: holds what the admin API answered against it. Knows no
//! connections; [`crate::relay`] sees the answers.
//!
//! Schemas are taken as closed: a member that an object's `properties` do not have is wrong, so
//! that a new one is described when it is new.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use jsonschema::Validator;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

/// The document in the tree.
const DESCRIPTION: &str = include_str!("../../../docs/openapi.yaml");
/// What holds for paths and methods that are not described.
const ELSEWHERE: &str = "/x-elsewhere";

/// An API's description, ready to be held against answers.
pub struct Contract {
    document: Value,
    /// The document with schemas that are closed.
    closed: Value,
    /// By the JSON pointer of the schema in the document.
    schemas: Mutex<HashMap<String, Arc<Validator>>>,
}

/// One request, and what came back.
#[derive(Debug, Clone, Default)]
pub struct Exchange {
    /// The request's method.
    pub method: String,
    /// The request's path, without the query.
    pub path: String,
    /// The answer's status.
    pub status: u16,
    /// The answer's `Content-Type`, as it stands there.
    pub content_type: Option<String>,
    /// What was sent of the answer's body.
    pub body: Vec<u8>,
    /// Whether that is all of it.
    pub whole: bool,
}

impl Contract {
    /// The admin API's.
    pub fn of_dhow() -> &'static Self {
        static CONTRACT: LazyLock<Contract> = LazyLock::new(|| Contract::parse(DESCRIPTION));
        &CONTRACT
    }

    /// Reads an OpenAPI document.
    ///
    /// # Panics
    /// When it is no YAML.
    pub fn parse(text: &str) -> Self {
        let document: Value = serde_saphyr::from_str(text).expect("the document is YAML");
        let mut closed = document.clone();
        join(&mut closed, &document);
        close(&mut closed);
        Self { document, closed, schemas: Mutex::default() }
    }

    /// The document as it stands there.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// Whether the document allows the answer.
    ///
    /// # Errors
    /// What is wrong, and where to describe it.
    pub fn check(&self, exchange: &Exchange) -> Result<(), String> {
        let (place, responses) = self.responses(&exchange.method, &exchange.path);
        self.check_response(&responses, exchange).map_err(|wrong| {
            let Exchange { method, path, status, .. } = exchange;
            format!(
                "{method} {path} was answered with {status}, but {wrong}\n  described at {place}; \
                 describe it in docs/openapi.yaml, or correct the answer\n  the body: {}",
                shown(&exchange.body)
            )
        })
    }

    /// Where the document says how a request is answered: for people, and as a pointer.
    fn responses(&self, method: &str, path: &str) -> (String, String) {
        let elsewhere = |why: &str| {
            let place = format!("x-elsewhere, for {why} in the document");
            (place, format!("{ELSEWHERE}/responses"))
        };
        let Some(template) = self.template(path) else {
            return elsewhere("there is no such path");
        };
        let method = match method.to_ascii_lowercase() {
            // Whoever answers GET answers HEAD.
            head if head == "head" => "get".to_owned(),
            method => method,
        };
        if self.document["paths"][template].get(&method).is_none() {
            return elsewhere("there is no such method of this path");
        }
        let pointer = format!("/paths/{}/{method}/responses", escaped(template));
        (format!("paths, {template}, {method}"), pointer)
    }

    /// The described path that `path` is an instance of; one without parameters goes first.
    fn template(&self, path: &str) -> Option<&str> {
        let templates = self.document["paths"].as_object().expect("`paths` is a mapping").keys();
        let fitting = templates.filter(|template| is_instance(path, template));
        fitting.min_by_key(|template| template.matches('{').count()).map(String::as_str)
    }

    fn check_response(&self, responses: &str, exchange: &Exchange) -> Result<(), String> {
        let Exchange { method, status, content_type, body, .. } = exchange;
        let pointer = self.followed(format!("{responses}/{status}"));
        let Some(response) = self.document.pointer(&pointer) else {
            return Err(format!("the status {status} is not described"));
        };
        if method.eq_ignore_ascii_case("HEAD") {
            return if body.is_empty() { Ok(()) } else { Err("a HEAD has a body".to_owned()) };
        }
        let essence = content_type.as_deref().map(essence);
        match (response.get("content"), essence) {
            (None, _) if body.is_empty() => Ok(()),
            (None, _) => Err("a body is not described".to_owned()),
            (Some(_), None) => Err("it has no Content-Type".to_owned()),
            (Some(content), Some(essence)) => {
                let Some(media) = content.get(essence) else {
                    return Err(format!("the media type {essence} is not described"));
                };
                if media.get("schema").is_none() {
                    return Ok(());
                }
                let schema = format!("{pointer}/content/{}/schema", escaped(essence));
                self.check_body(&schema, essence, exchange)
            }
        }
    }

    fn check_body(&self, schema: &str, essence: &str, exchange: &Exchange) -> Result<(), String> {
        let Exchange { body, whole, .. } = exchange;
        match essence {
            "application/x-ndjson" => {
                let whole_lines = match body.iter().rposition(|byte| *byte == b'\n') {
                    Some(end) => &body[..end],
                    None => &[],
                };
                let lines = whole_lines.split(|byte| *byte == b'\n').enumerate();
                lines.filter(|(_, line)| !line.is_empty()).try_for_each(|(number, line)| {
                    self.check_json(schema, line)
                        .map_err(|wrong| format!("line {}: {wrong}", number + 1))
                })?;
                match *whole && whole_lines.len() + 1 < body.len() {
                    true => Err("the last line does not end".to_owned()),
                    false => Ok(()),
                }
            }
            _ if !whole => Ok(()),
            "application/json" => self.check_json(schema, body),
            _ => match std::str::from_utf8(body) {
                Ok(text) => self.check_value(schema, &Value::from(text)),
                Err(_) => Ok(()),
            },
        }
    }

    fn check_json(&self, schema: &str, text: &[u8]) -> Result<(), String> {
        let value = serde_json::from_slice(text).map_err(|error| format!("it is no JSON: {error}"));
        self.check_value(schema, &value?)
    }

    fn check_value(&self, schema: &str, value: &Value) -> Result<(), String> {
        let wrong: Vec<_> = self
            .validator(schema)?
            .iter_errors(value)
            .map(|error| format!("`{}`: {error}", error.instance_path))
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    }

    fn validator(&self, pointer: &str) -> Result<Arc<Validator>, String> {
        if let Some(validator) = self.schemas.lock().get(pointer) {
            return Ok(validator.clone());
        }
        let schema = self.closed.pointer(pointer).and_then(Value::as_object);
        let Some(schema) = schema else { return Err(format!("{pointer} is no schema")) };
        // The whole document goes along: references lead into it.
        let mut root = self.closed.clone();
        if let Some(root) = root.as_object_mut() {
            root.extend(schema.clone());
        }
        root["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
        let options = jsonschema::options().should_validate_formats(true);
        let validator = options.build(&root);
        let validator = validator.map_err(|error| format!("{pointer} is no schema: {error}"))?;
        let validator = Arc::new(validator);
        self.schemas.lock().insert(pointer.to_owned(), validator.clone());
        Ok(validator)
    }

    /// Where a pointer ends that may lead to a reference.
    fn followed(&self, pointer: String) -> String {
        let reference = self.document.pointer(&pointer).and_then(|found| found["$ref"].as_str());
        match reference {
            Some(reference) => reference.trim_start_matches('#').to_owned(),
            None => pointer,
        }
    }
}

/// Puts one schema in place of each `allOf`, with the members of all its parts: closed one by one,
/// each would refuse what the others have.
fn join(value: &mut Value, document: &Value) {
    match value {
        Value::Object(members) => {
            for part in members.remove("allOf").iter().flat_map(|parts| parts.as_array()).flatten()
            {
                let reference = part["$ref"].as_str().and_then(|to| to.strip_prefix('#'));
                let part = reference.and_then(|pointer| document.pointer(pointer)).unwrap_or(part);
                merge(members, part);
            }
            members.values_mut().for_each(|member| join(member, document));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| join(item, document)),
        _ => {}
    }
}

/// Adds what `part` says to a schema.
fn merge(schema: &mut Map<String, Value>, part: &Value) {
    for (key, said) in part.as_object().into_iter().flatten() {
        match (schema.get_mut(key), said) {
            (Some(Value::Object(known)), Value::Object(more)) => known.extend(more.clone()),
            (Some(Value::Array(known)), Value::Array(more)) => known.extend(more.clone()),
            _ => drop(schema.insert(key.clone(), said.clone())),
        }
    }
}

/// Makes every schema below `value` refuse members that it does not have.
fn close(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(close);
            if members.get("properties").is_some_and(Value::is_object) {
                members.entry("additionalProperties").or_insert(Value::Bool(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

fn is_instance(path: &str, template: &str) -> bool {
    let (mut pieces, mut parts) = (path.split('/'), template.split('/'));
    loop {
        match (pieces.next(), parts.next()) {
            (None, None) => return true,
            (Some(piece), Some(part)) if part.starts_with('{') && !piece.is_empty() => {}
            (Some(piece), Some(part)) if piece == part => {}
            _ => return false,
        }
    }
}

/// A media type without its parameters.
fn essence(content_type: &str) -> &str {
    content_type.split_once(';').map_or(content_type, |(essence, _)| essence).trim()
}

/// A key as a JSON pointer spells it (RFC 6901).
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.chars().take(1000).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const API: &str = r##"
openapi: "3.1.0"
paths:
  /things:
    get:
      responses:
        "200":
          content:
            application/x-ndjson: {schema: {$ref: "#/components/schemas/Thing"}}
            text/plain: {schema: {type: string, minLength: 2}}
        "204": {description: Nothing.}
  /things/{name}:
    get:
      responses:
        "200": {$ref: "#/components/responses/Thing"}
  /things/{name}/secret:
    get:
      responses:
        "200":
          content:
            application/json:
              schema:
                allOf:
                  - {$ref: "#/components/schemas/Thing"}
                  - {type: object, required: [secret], properties: {secret: {type: string}}}
  /things/all:
    get: {responses: {"204": {description: Nothing.}}}
x-elsewhere:
  responses: {"404": {description: Nothing.}}
components:
  responses:
    Thing:
      content: {application/json: {schema: {$ref: "#/components/schemas/Thing"}}}
  schemas:
    Thing:
      type: object
      required: [name]
      properties:
        name: {type: string}
        made: {type: string, format: date-time}
"##;

    fn verdict(method: &str, path: &str, status: u16, media: &str, body: &str) -> String {
        let content_type = Some(media.to_owned()).filter(|media| !media.is_empty());
        let exchange = Exchange {
            method: method.to_owned(),
            path: path.to_owned(),
            status,
            content_type,
            body: body.as_bytes().to_vec(),
            whole: true,
        };
        Contract::parse(API).check(&exchange).err().unwrap_or_default()
    }

    const JSON: &str = "application/json";
    const NDJSON: &str = "application/x-ndjson; charset=utf-8";

    #[test]
    fn what_is_described_is_allowed() {
        for (method, path, status, media, body) in [
            ("GET", "/things/a", 200, JSON, r#"{"name":"a","made":"2026-01-02T03:04:05Z"}"#),
            ("GET", "/things", 200, NDJSON, "{\"name\":\"a\"}\n{\"name\":\"b\"}\n"),
            ("GET", "/things", 200, NDJSON, ""),
            ("GET", "/things", 200, "text/plain", "ok"),
            ("GET", "/things", 204, "", ""),
            ("GET", "/things/all", 204, "", ""),
            ("GET", "/things/a/secret", 200, JSON, r#"{"name":"a","secret":"b"}"#),
            ("HEAD", "/things/a", 200, JSON, ""),
            ("GET", "/elsewhere", 404, "", ""),
            ("POST", "/things", 404, "", ""),
        ] {
            assert_eq!(verdict(method, path, status, media, body), "", "{method} {path}");
        }
    }

    #[test]
    fn what_is_not_described_is_named() {
        for (method, path, status, media, body, wrong) in [
            ("GET", "/things/a", 418, JSON, "{}", "the status 418 is not described"),
            ("GET", "/elsewhere", 200, JSON, "{}", "there is no such path"),
            ("POST", "/things", 200, JSON, "{}", "there is no such method"),
            ("GET", "/things/a/b", 200, JSON, "{}", "there is no such path"),
            ("GET", "/things/", 200, JSON, "{}", "there is no such path"),
            ("GET", "/things/a", 200, "text/html", "x", "the media type text/html"),
            ("GET", "/things/a", 200, "", "x", "it has no Content-Type"),
            ("GET", "/things", 204, "", "x", "a body is not described"),
            ("HEAD", "/things", 204, "", "x", "a HEAD has a body"),
            ("GET", "/things/a", 200, JSON, "{}", "\"name\" is a required property"),
            ("GET", "/things/a", 200, JSON, "", "it is no JSON"),
            ("GET", "/things/a", 200, JSON, r#"{"name":"a","more":1}"#, "'more' was unexpected"),
            ("GET", "/things/a", 200, JSON, r#"{"name":"a","made":"now"}"#, "`/made`"),
            ("GET", "/things/a/secret", 200, JSON, r#"{"name":"a"}"#, "\"secret\" is a required"),
            (
                "GET",
                "/things/a/secret",
                200,
                JSON,
                r#"{"name":"a","secret":"b","more":1}"#,
                "'more'",
            ),
            ("GET", "/things", 200, NDJSON, "{\"name\":\"a\"}\n{}\n", "line 2: "),
            ("GET", "/things", 200, NDJSON, "{\"name\":\"a\"}", "the last line does not end"),
            ("GET", "/things", 200, "text/plain", "x", "is shorter than 2"),
            ("GET", "/things/all", 200, JSON, "{}", "the status 200 is not described"),
        ] {
            let said = verdict(method, path, status, media, body);
            assert!(said.contains(wrong), "{method} {path}: {said}");
        }
    }

    #[test]
    fn of_an_answer_that_was_cut_its_whole_lines_are_looked_at() {
        let cut = |media: &str, body: &str| {
            let exchange = Exchange {
                method: "GET".to_owned(),
                path: if media == JSON { "/things/a" } else { "/things" }.to_owned(),
                status: 200,
                content_type: Some(media.to_owned()),
                body: body.as_bytes().to_vec(),
                whole: false,
            };
            Contract::parse(API).check(&exchange)
        };
        assert_eq!(cut(JSON, "{\"na"), Ok(()));
        assert_eq!(cut(NDJSON, "{\"name\":\"a\"}\n{\"na"), Ok(()));
        assert!(cut(NDJSON, "{}\n{\"na").is_err());
    }

    #[test]
    fn dhows_own_document_is_read() {
        let exchange = Exchange {
            method: "GET".to_owned(),
            path: "/api/v1/namespaces/default/functions/f".to_owned(),
            status: 418,
            content_type: Some(JSON.to_owned()),
            body: b"{}".to_vec(),
            whole: true,
        };
        let said = Contract::of_dhow().check(&exchange).unwrap_err();
        assert!(said.contains("the status 418 is not described"), "{said}");
        assert!(said.contains("docs/openapi.yaml"), "{said}");
    }
}
