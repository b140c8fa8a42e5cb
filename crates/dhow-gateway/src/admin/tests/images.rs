use dhow_core::abi::Abi;
use dhow_core::function::ImageSource;
use dhow_core::ports::Pulled;
use http::StatusCode;
use serde_json::{Value, json};

use super::rig::{Lines, Rig};

const PATH: &str = "/api/v1/namespaces/shop/images";
const PINNED: &str = "registry.example/a:v1@sha256:\
                      0000000000000000000000000000000000000000000000000000000000000000";

fn holds_an_image(rig: &Rig) {
    let blob = rig.module(&[Abi::Command], &[]);
    *rig.images.image.lock() = Some(Pulled {
        image: ImageSource { reference: PINNED.to_owned(), ..ImageSource::default() },
        format: "docker-image",
        blob,
        program: "a.wasm".to_owned(),
        words: vec![],
        args: vec!["serve".to_owned()],
        env: [("A", "image"), ("B", "image")].map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec(),
        warnings: vec!["it is odd".to_owned()],
    });
}

fn of_image(name: &str, spec: &Value) -> Value {
    let mut manifest = json!({
        "apiVersion": "dhow.dev/v1alpha1", "kind": "Function", "metadata": {"name": name},
        "spec": {"source": {"image": "registry.example/a:v1"}},
    });
    manifest["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    manifest
}

#[tokio::test]
async fn a_pull_tells_of_bytes_warnings_and_the_module() {
    let rig = Rig::new().await;
    holds_an_image(&rig);
    let wanted = json!({
        "reference": "registry.example/a:v1", "pullSecrets": ["mine"], "command": ["/a.wasm", "x"],
    });
    let request = rig.request("POST", PATH);
    let lines = Lines::of(rig.send(request, wanted.to_string()).await).all().await;
    let events: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["pulling", "warning", "inspecting", "compiling", "compiled", "artifact"]);
    assert_eq!((&lines[0]["received"], &lines[0]["size"]), (&json!(7), &json!(7)));
    assert_eq!(lines[1]["message"], "it is odd");
    let artifact = &lines[5]["artifact"];
    assert_eq!(artifact["program"], "a.wasm");
    let image = json!({
        "reference": PINNED, "format": "docker-image", "args": ["serve"],
        "env": [{"name": "A", "value": "image"}, {"name": "B", "value": "image"}],
    });
    assert_eq!(artifact["image"], image);
    let pull_secrets = vec!["mine".parse().unwrap()];
    let reference = "registry.example/a:v1".to_owned();
    let command = vec!["/a.wasm".to_owned(), "x".to_owned()];
    let source = ImageSource { reference, pull_secrets, command };
    assert_eq!(*rig.images.asked.lock(), [("shop".parse().unwrap(), source)]);
}

#[tokio::test]
async fn a_request_that_makes_no_sense_and_an_image_that_is_not_there_are_refused() {
    let rig = Rig::new().await;
    for wrong in [
        "",
        "{}",
        r#"{"reference": "a", "tag": "b"}"#,
        r#"{"reference": "a", "pullSecrets": ["A"]}"#,
    ] {
        let (status, _) = rig.json("POST", PATH, wrong.to_owned()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{wrong}");
    }
    let request = rig.request("POST", PATH);
    let lines = Lines::of(rig.send(request, r#"{"reference": "a"}"#).await).all().await;
    assert_eq!(lines.len(), 1);
    assert_eq!((&lines[0]["event"], &lines[0]["reason"]), (&json!("refused"), &json!("not-found")));
}

#[tokio::test]
async fn what_an_image_says_holds_where_the_manifest_is_silent() {
    let rig = Rig::new().await;
    holds_an_image(&rig);
    let (status, plain) = rig.put("plain", &of_image("plain", &json!({}))).await;
    assert_eq!(status, StatusCode::CREATED, "{plain}");
    assert_eq!(plain["image"], PINNED);
    let spec = &plain["manifest"]["spec"];
    assert_eq!(spec["source"], json!({"image": PINNED}));
    assert_eq!(spec["args"], json!(["serve"]));
    let over = json!({"args": ["-v"], "env": [{"name": "B", "value": "mine"}]});
    let (_, over) = rig.put("over", &of_image("over", &over)).await;
    let spec = &over["manifest"]["spec"];
    assert_eq!(spec["args"], json!(["-v"]));
    let env = json!([{"name": "A", "value": "image"}, {"name": "B", "value": "mine"}]);
    assert_eq!(spec["env"], env);

    // The entry point's own words stay, and what is recorded means the same once more.
    {
        let mut image = rig.images.image.lock();
        let image = image.as_mut().unwrap();
        image.words = vec!["--fixed".to_owned()];
        image.image.command = vec!["/a.wasm".to_owned()];
    }
    let (_, words) = rig.put("words", &of_image("words", &json!({"args": ["-v"]}))).await;
    let manifest = &words["manifest"];
    assert_eq!(manifest["spec"]["args"], json!(["--fixed", "-v"]));
    assert_eq!(manifest["spec"]["source"], json!({"image": PINNED, "command": ["/a.wasm"]}));
    rig.images.image.lock().as_mut().unwrap().words = vec![];
    let (_, again) = rig.put("words", manifest).await;
    assert_eq!(&again["manifest"], manifest);
    let asked = rig.images.asked.lock().last().unwrap().1.command.clone();
    assert_eq!(asked, ["/a.wasm"]);
}

#[tokio::test]
async fn an_image_that_can_not_be_had_or_says_too_much_is_not_deployed() {
    let rig = Rig::new().await;
    let (status, problem) = rig.put("a", &of_image("a", &json!({}))).await;
    assert_eq!(
        (status, &problem["reason"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("not-found"))
    );
    for args in [vec!["x".repeat(2 << 20)], vec!["a\0b".to_owned()]] {
        holds_an_image(&rig);
        rig.images.image.lock().as_mut().unwrap().args = args;
        let (status, problem) = rig.put("a", &of_image("a", &json!({}))).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(problem["fields"][0]["path"], "spec.source.image");
    }
}
