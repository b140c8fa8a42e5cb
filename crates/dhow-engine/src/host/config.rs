//! `wasi:config/store`: what the function was given, by key.

use wasmtime::component::{ComponentType, Lift, Linker, Lower};
use wasmtime::{Result, StoreContextMut};

use crate::host::State;

/// The interface, as toolchains of today know it.
const STORE: &str = "wasi:config/store@0.2.0-rc.1";

/// `wasi:config/store.error`.
#[derive(ComponentType, Lower, Lift)]
#[component(variant)]
enum ConfigError {
    #[component(name = "upstream")]
    Upstream(String),
    #[component(name = "io")]
    Io(String),
}

type Got<T> = Result<(std::result::Result<T, ConfigError>,)>;

/// Offers it to components.
pub(crate) fn link(linker: &mut Linker<State>) -> Result<()> {
    let mut store = linker.instance(STORE)?;
    store.func_wrap("get", |store: StoreContextMut<'_, State>, (key,): (String,)| {
        let value = store.data().given().and_then(|given| given.value(&key));
        let got: Got<Option<String>> = Ok((value.map(|value| text(&key, value)).transpose(),));
        got
    })?;
    store.func_wrap("get-all", |store: StoreContextMut<'_, State>, (): ()| {
        let values = store.data().given().into_iter().flat_map(|given| given.values());
        let all = values.map(|(key, value)| Ok((key.to_owned(), text(key, value)?)));
        let got: Got<Vec<(String, String)>> = Ok((all.collect(),));
        got
    })
}

/// The interface speaks of texts alone.
fn text(key: &str, value: &[u8]) -> std::result::Result<String, ConfigError> {
    let text = std::str::from_utf8(value).map(str::to_owned);
    text.map_err(|_| ConfigError::Io(format!("the value of `{key}` is not UTF-8")))
}
