#!/usr/bin/env bash
# A session of the real faas-cli with a dhow of its own, from login to remove: every step has to
# succeed and to say what is expected. `docs/compat.md` names the version that it was run with.
#
# usage: tools/faas-cli/session.sh FAAS_CLI DHOW
#
# FAAS_CLI is built of its own source (`go build` in a checkout of openfaas/faas-cli): the registry of
# Go modules that this project is built from does not offer it, so this is no part of `./x test`,
# which sends the same requests by itself (it::server::openfaas). Needs docker-registry, python3.
set -euo pipefail
cli=$(realpath "$1")
dhow=$(realpath "$2")
here=$(realpath "$(dirname "$0")/../..")
work=$(mktemp -d)
pids=()
end() {
    [ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null || true
    wait
    rm -rf "$work"
}
trap end EXIT
cd "$work"
export HOME="$work/home" OPENFAAS_CONFIG="$work/home/.openfaas"
mkdir -p "$HOME"

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
wait_for() {
    for _ in $(seq 300); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.2
    done
    echo "never true: $*" >&2
    exit 1
}
# says TEXT COMMAND…: runs it; its output has to hold the text.
says() {
    local text=$1 out
    shift
    if ! out=$("$@" 2>&1); then
        printf 'FAILED: %s\n%s\n' "$*" "$out" >&2
        exit 1
    fi
    if ! grep -qF -- "$text" <<<"$out"; then
        printf '%s\ndoes not say "%s" but\n%s\n' "$*" "$text" "$out" >&2
        exit 1
    fi
    printf 'ok: %s %s\n' "$(basename "$1")" "$2"
}
# refuses TEXT COMMAND…: the same of one that has to fail.
refuses() {
    local text=$1 out
    shift
    if out=$("$@" 2>&1); then
        printf 'SUCCEEDED: %s\n%s\n' "$*" "$out" >&2
        exit 1
    fi
    if ! grep -qF -- "$text" <<<"$out"; then
        printf '%s\ndoes not say "%s" but\n%s\n' "$*" "$text" "$out" >&2
        exit 1
    fi
    printf 'ok: %s (refused)\n' "$*"
}

# A registry with images of two guests, a server that asks for credentials, and a store's file.
registry=127.0.0.1:$(free_port)
cat >registry.yml <<YAML
version: 0.1
log: {accesslog: {disabled: true}, level: error}
storage: {filesystem: {rootdirectory: $work/registry}}
http: {addr: $registry}
YAML
docker-registry serve registry.yml >registry.log 2>&1 &
pids+=($!)
gateway=127.0.0.1:$(free_port)
admin=127.0.0.1:$(free_port)
"$dhow" up --auth --listen "$gateway" --admin "$admin" --metrics 127.0.0.1:0 --data "$work/data" \
    >dhow.log 2>&1 &
pids+=($!)
gw=http://$gateway
export OPENFAAS_URL=$gw
wait_for curl -sf "http://$registry/v2/"
wait_for curl -sf "$gw/healthz"
wait_for test -s data/admin-secret
"$dhow" push "$here/guests/c/env/env.wasm" "$registry/env:v1" --format image
"$dhow" push "$here/guests/c/echo/echo.wasm" "$registry/echo:v1" --format image

says "OpenFaaS gateway is ready" "$cli" ready
refuses "" "$cli" list
refuses "username or password is incorrect" "$cli" login --password wrong
says "credentials saved for admin" "$cli" login --password "$(cat data/admin-secret)"
says "Provider" "$cli" version --warn-update=false
says "openfaas-fn" "$cli" namespaces

cat >stack.yml <<YAML
version: 1.0
provider: {name: openfaas, gateway: $gw}
functions:
  env:
    lang: dockerfile
    handler: ./env
    skip_build: true
    image: \${REGISTRY:-$registry}/env:v1
    fprocess: env.wasm -a
    environment: {GREETING: none}
    environment_file: [env.yml]
    secrets: [api-key]
    labels: {com.openfaas.scale.max: "4"}
    annotations: {note: mine}
    limits: {memory: 32Mi, cpu: 500m}
    requests: {memory: 1Mi}
    constraints: ["zone=a"]
    readonly_root_filesystem: true
  echo:
    lang: dockerfile
    handler: ./echo
    skip_build: true
    image: $registry/echo:v1
YAML
printf 'environment:\n  GREETING: hi\n' >env.yml
mkdir -p env echo template/dockerfile
printf "language: dockerfile\n" >template/dockerfile/template.yml
refuses "api-key" "$cli" deploy -f stack.yml
says "Created: 202" "$cli" secret create api-key --from-literal first
says "already exists" "$cli" secret create api-key --from-literal first
says "Updated: 202" "$cli" secret update api-key --from-literal second
says "api-key" "$cli" secret list
says "Deployed. 202 Accepted." "$cli" deploy -f stack.yml
says "URL: $gw/function/echo" "$cli" up -f stack.yml --skip-push
says "echo" "$cli" list
says "$registry/env:v1" "$cli" list -v
says "Ready" "$cli" describe env
says "env.wasm -a" "$cli" describe env
says "is ready" "$cli" ready env
wait_for "$cli" ready echo

says "GREETING=hi" "$cli" invoke env </dev/null
says "Http_Query=x=1" "$cli" invoke env --query x=1 </dev/null
says "Http_X_Mine=yes" "$cli" invoke env -H "X-Mine: yes" </dev/null
says "Http_Method=GET" "$cli" invoke env --method GET </dev/null
says "argv[1]=-a" "$cli" invoke env </dev/null
signed=$(printf 'to sign' | openssl dgst -sha256 -hmac key | sed 's/.* //')
says "Http_X_Signed=sha256=$signed" "$cli" invoke env --sign X-Signed --key key <<<"$(printf 'to sign')" ||
    true
says "hello" "$cli" invoke echo <<<hello
says "submitted asynchronously" "$cli" invoke echo --async <<<later
says "" "$cli" logs env --tail --since 1h --follow=false

# What `generate` writes is what `dhow apply` reads.
"$cli" remove echo
sed '/secrets:/d' stack.yml >plain.yml
"$cli" generate -f plain.yml >generated.yml
says "kind: Function" cat generated.yml
token=$(cat data/admin-secret)
DHOW_TOKEN=$token says "/function/echo" "$dhow" apply -f generated.yml --server "http://$admin"
says "hello" "$cli" invoke echo <<<hello
"$cli" generate --api=serving.knative.dev/v1 -f plain.yml >knative.yml
DHOW_TOKEN=$token says "/function/env" "$dhow" apply -f knative.yml --server "http://$admin"

# A store of one function, from a file that is served here.
cat >functions.json <<JSON
{"version": "0.2.0", "functions": [{"title": "Echo", "name": "from-store", "description": "echoes",
 "icon": "", "author": "dhow", "fprocess": "echo.wasm", "repo_url": "https://example.com",
 "images": {"x86_64": "$registry/echo:v1"}}]}
JSON
store=$(free_port)
python3 -m http.server --bind 127.0.0.1 "$store" >/dev/null 2>&1 &
pids+=($!)
wait_for curl -sf "http://127.0.0.1:$store/functions.json"
url=http://127.0.0.1:$store/functions.json
says "from-store" "$cli" store list -v -u "$url"
says "Deployed. 202 Accepted." "$cli" store deploy from-store -u "$url"
says "stored" "$cli" invoke from-store <<<stored

says "" "$cli" remove from-store
refuses "" "$cli" describe from-store
says "" "$cli" remove -f stack.yml
says "" "$cli" secret remove api-key
refuses "" "$cli" secret remove api-key
echo "the session went as it should: $("$cli" version --short-version --warn-update=false)"
