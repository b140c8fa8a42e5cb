//! `PUT` of a function: the manifest is read, held against its module, and put in force.

use axum::Json;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Extension, Query, State};
use axum::routing::{self, MethodRouter};
use bytes::Bytes;
use dhow_core::abi::{Abi, Io};
use dhow_core::digest::Digest;
use dhow_core::function::{Deployed, Function, Revision, Source, Template};
use dhow_core::limits::ARGS_AND_ENV;
use dhow_core::metadata::Metadata;
use dhow_core::name::{FunctionName, Label};
use dhow_core::plan::routes::{self, Reach};
use dhow_core::ports::{Artifact, CatalogError, NewRevision, Pulled};
use dhow_core::quota;
use dhow_core::token::{Place, Scope};
use dhow_dialects::document;
use dhow_dialects::native;
use dhow_dialects::openfaas::OPENFAAS_NAMESPACE;
use dhow_dialects::problem::FieldError;
use http::StatusCode;
use serde::Deserialize;

use super::audit::Detail;
use super::credentials::Principal;
use super::error::ApiError;
use super::path::Named;
use super::wire::FunctionStatus;
use super::{Admin, functions, time, wire};

/// Bytes of a manifest.
pub(super) const MOST_MANIFEST: usize = document::MOST_BYTES;

/// What begins the name of an export that answers several calls at once.
const CONCURRENT_HANDLER: &str = "wasi:http/handler@0.3";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeployQuery {
    #[serde(default, rename = "dryRun")]
    dry_run: bool,
}

pub(super) fn route() -> MethodRouter<Admin> {
    routing::put(deploy).layer(DefaultBodyLimit::max(MOST_MANIFEST))
}

/// Returns once the gateway answers by the new revision. A dry run does all but the write.
async fn deploy(
    State(admin): State<Admin>,
    Extension(principal): Extension<Principal>,
    Named(name): Named,
    query: Result<Query<DeployQuery>, QueryRejection>,
    manifest: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Extension<Detail>, Json<FunctionStatus>), ApiError> {
    let Query(DeployQuery { dry_run }) = query?;
    let function = read(&manifest?, &name)?;
    let reach = match principal.may(Scope::Deploy, Place::Everywhere) {
        true => Reach::Everywhere,
        false => Reach::Namespace,
    };
    if dry_run {
        let planned = rehearse(&admin, function, reach).await?;
        let detail = Extension(Detail("dry run".to_owned()));
        return Ok((StatusCode::OK, detail, Json(functions::status(&admin, &planned))));
    }
    let (deployed, is_new) = put_in_force(&admin, function, reach).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let revision = &deployed.revision;
    let detail = Detail(format!("revision {}, {}", revision.number, revision.digest));
    Ok((status, Extension(detail), Json(functions::status(&admin, &deployed))))
}

/// Deploys `function`, and returns once the gateway answers by it; whether there was none before.
pub(crate) async fn put_in_force(
    admin: &Admin,
    function: Function,
    reach: Reach,
) -> Result<(Deployed, bool), ApiError> {
    let new = judge(admin, function, reach).await?;
    let _turn = admin.changing.lock().await;
    let is_new = functions::find(admin, &new.function.name).is_err();
    let deployed = admin.catalog.deploy(new).await?;
    (admin.applied)(admin.catalog.snapshot().version).await;
    Ok((deployed, is_new))
}

/// Notes something else about a function, and changes nothing besides. The caller has the turn.
pub(crate) async fn note(
    admin: &Admin,
    function: &Deployed,
    metadata: Metadata,
) -> Result<(), ApiError> {
    let revision = &function.revision;
    let new = NewRevision {
        function: Function { metadata, ..wire::whole(function) },
        digest: revision.digest,
        program: revision.program.clone(),
        abi: revision.abi,
        // Its routes stay as they are.
        reach: Reach::Everywhere,
        now_ms: time::now_ms(),
    };
    admin.catalog.deploy(new).await?;
    Ok(())
}

async fn rehearse(admin: &Admin, function: Function, reach: Reach) -> Result<Deployed, ApiError> {
    let new = judge(admin, function, reach).await?;
    let _turn = admin.changing.lock().await;
    check_write(admin, &new)?;
    Ok(planned(new))
}

/// What would be written: the code is held, compiled, and fits.
async fn judge(admin: &Admin, function: Function, reach: Reach) -> Result<NewRevision, ApiError> {
    let namespace = &function.name.namespace;
    if namespace.as_str() == OPENFAAS_NAMESPACE {
        let message =
            format!("the namespace `{namespace}` is what OpenFaaS' clients call `default`");
        let hint = "say `default`, or take another name";
        return Err(ApiError::new(StatusCode::CONFLICT, "conflict", message, hint));
    }
    let Code { function, digest, program } = code(admin, function).await?;
    let artifact = admin.intake.admit(&digest, &|_| {}).await?;
    let abi = fit(&function, &artifact)?;
    check_secrets(admin, &function).await?;
    Ok(NewRevision { function, digest, program, abi, reach, now_ms: time::now_ms() })
}

/// One function, with the name that the path says.
fn read(manifest: &[u8], name: &FunctionName) -> Result<Function, ApiError> {
    let invalid = |message: &str| ApiError::invalid(message, vec![]);
    let text = std::str::from_utf8(manifest)
        .map_err(|_| invalid("the manifest is not UTF-8; send JSON"))?;
    let functions = native::parse_documents(text, &name.namespace)
        .map_err(|problems| ApiError::invalid("the manifest is not valid", problems.fields))?;
    let [function] = <[Function; 1]>::try_from(functions).map_err(|several| {
        invalid(&format!("the body has {} manifests, not one", several.len()))
    })?;
    let told = [
        ("metadata.namespace", &function.name.namespace, &name.namespace),
        ("metadata.name", &function.name.name, &name.name),
    ];
    let fields: Vec<_> = told
        .into_iter()
        .filter(|(_, said, path)| said != path)
        .map(|(field, said, path)| {
            FieldError::new(field, format!("is `{said}`, but the path says `{path}`"))
        })
        .collect();
    if fields.is_empty() {
        Ok(function)
    } else {
        Err(ApiError::invalid("the manifest and the path disagree", fields))
    }
}

/// A function, its module, and the file name that this came under or might have.
struct Code {
    function: Function,
    digest: Digest,
    program: String,
}

/// Makes sure that the code is held. An image is pulled, and what it says about its module is said
/// where the manifest is silent.
async fn code(admin: &Admin, mut function: Function) -> Result<Code, ApiError> {
    match &function.source {
        Source::Blob { digest, program } => {
            let (digest, program) = (*digest, program.clone());
            let program = program.unwrap_or_else(|| format!("{}.wasm", function.name.name));
            Ok(Code { function, digest, program })
        }
        Source::Image(image) => {
            let pulled = admin.images.pull(&function.name.namespace, image, &|_| {}).await?;
            let Pulled { image, format: _, blob, program, words, args, env, warnings } = pulled;
            for warning in warnings {
                tracing::info!(function = %function.name, image = image.reference, "{warning}");
            }
            function.source = Source::Image(image);
            function.template.complete(words, args, env);
            check_words(&function.template)?;
            Ok(Code { function, digest: blob, program })
        }
        Source::Path(_) => {
            let message = "is a file of the client's; upload it to /api/v1/artifacts and say \
                           `spec.source.blob` with the digest that is answered";
            let field = FieldError::new("spec.source.path", message);
            Err(ApiError::invalid("the manifest names no code that the server holds", vec![field]))
        }
    }
}

/// What a manifest is held to, for what an image added.
fn check_words(template: &Template) -> Result<(), ApiError> {
    let args = template.args.iter().map(|arg| arg.len() + 1).sum::<usize>();
    let env = template.env.iter().map(|(name, value)| name.len() + value.len() + 2).sum::<usize>();
    let texts = template.args.iter().chain(template.env.iter().flat_map(|(n, v)| [n, v]));
    let message = if args + env > ARGS_AND_ENV {
        let bytes = args + env;
        format!("has with the manifest {bytes} bytes of args and env; at most {ARGS_AND_ENV}")
    } else if texts.into_iter().any(|text| text.contains('\0')) {
        "has a NUL in its arguments or variables".to_owned()
    } else {
        return Ok(());
    };
    let field = FieldError::new("spec.source.image", message);
    Err(ApiError::unfit("bad-manifest", field, "build the image with less of them"))
}

/// How the module is called, if it is what the manifest takes it for.
fn fit(function: &Function, artifact: &Artifact) -> Result<Abi, ApiError> {
    let abi = function.abi.unwrap_or_else(|| artifact.abi());
    if !artifact.abis.contains(&abi) {
        let can_be: Vec<_> = artifact.abis.iter().map(|abi| abi.as_str()).collect();
        let can_be = can_be.join(" or ");
        let message = format!("is `{abi}`, but the module can be called as {can_be} only");
        let hint = format!("say {can_be}, or leave `abi` out");
        return Err(ApiError::unfit("abi-mismatch", FieldError::new("spec.abi", message), &hint));
    }
    if !matches!(abi, Abi::Http | Abi::Command) {
        let message = format!("the module is `{abi}`; this version of dhow runs http and command");
        let hint = "build the module as a wasi:http component or as a command";
        return Err(ApiError::unfit("unsupported", FieldError::new("spec.abi", message), hint));
    }
    let wrong_field = match abi {
        Abi::Command => check_command(function),
        _ => check_handler(function, artifact),
    };
    match wrong_field {
        None => Ok(abi),
        Some(field) => Err(ApiError::unfit("invalid", field, "leave the field out")),
    }
}

/// A command ends with its call, so nothing of it is left to use again.
fn check_command(function: &Function) -> Option<FieldError> {
    let reuse = &function.template.reuse;
    let field = match (reuse.calls, reuse.concurrent) {
        (1, 1) => return None,
        (1, _) => "spec.reuse.concurrent",
        _ => "spec.reuse.calls",
    };
    Some(FieldError::new(field, "must be 1: a command ends with its call"))
}

fn check_handler(function: &Function, artifact: &Artifact) -> Option<FieldError> {
    let takes_several =
        artifact.exports.iter().any(|export| export.starts_with(CONCURRENT_HANDLER));
    if function.template.reuse.concurrent > 1 && !takes_several {
        let message = "must be 1: the module exports wasi:http/incoming-handler@0.2, which \
                       answers one call after the other; `wasi:http/handler@0.3` takes several";
        return Some(FieldError::new("spec.reuse.concurrent", message));
    }
    if function.template.io != Io::default() {
        let message = "says how a command is called, and the module is http";
        return Some(FieldError::new("spec.io", message));
    }
    None
}

/// Every secret that is granted is there. One that is deleted later ends calls by its name.
async fn check_secrets(admin: &Admin, function: &Function) -> Result<(), ApiError> {
    let names = &function.template.grants.secrets;
    if names.is_empty() {
        return Ok(());
    }
    let namespace = &function.name.namespace;
    let there = admin.secrets.list().await?;
    let is_there = |name: &Label| {
        there.iter().any(|secret| secret.name.namespace == *namespace && secret.name.name == *name)
    };
    let missing = names.iter().enumerate().filter(|(_, name)| !is_there(name)).map(|(i, name)| {
        let message = format!("there is no secret `{name}` in the namespace {namespace}");
        FieldError::new(format!("spec.secrets[{i}]"), message)
    });
    match missing.collect::<Vec<_>>() {
        missing if missing.is_empty() => Ok(()),
        missing => Err(ApiError::invalid("a secret that is granted is not there", missing)),
    }
}

/// What the catalog checks itself when it writes.
fn check_write(admin: &Admin, new: &NewRevision) -> Result<(), CatalogError> {
    let function = &new.function;
    let snapshot = admin.catalog.snapshot();
    let existing = snapshot.functions.iter().map(|other| (&other.name, &other.routes[..]));
    routes::check(existing, &function.name, &function.routes, new.reach)?;
    if functions::find(admin, &function.name).is_err() {
        quota::check(&snapshot, &function.name.namespace)?;
    }
    Ok(())
}

/// What a dry run would have made, without the number and the time that only a write gives.
fn planned(new: NewRevision) -> Deployed {
    let NewRevision { function, digest, program, abi, reach: _, now_ms: _ } = new;
    let Function { name, source, abi: _, template, routes, access, metadata } = function;
    let image = match source {
        Source::Image(image) => Some(image),
        Source::Path(_) | Source::Blob { .. } => None,
    };
    let function = name.clone();
    let revision = Revision { function, number: 0, digest, image, program, abi, template };
    Deployed {
        name,
        revision: revision.into(),
        split: vec![],
        rolled_back: None,
        routes,
        access: access.shared(),
        metadata: metadata.shared(),
        version: 0,
        deployed_ms: 0,
    }
}
