#!/usr/bin/env bash
# curl as the client of a running server: curl.sh URL
#
# Everything that the server says before a connection becomes a WebSocket is plain HTTP,
# and curl is the client that sees every byte of it.
set -euo pipefail

url=${1%/}
answers=$(mktemp -d)
trap 'rm -rf "$answers"' EXIT
head=$answers/head
body=$answers/body
checks=0

# The key and its answer are the ones of RFC 6455, section 1.3.
upgrade=(-H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==')
accept='s3pPLMBiTxaQ9kYGzzhZRbK+xOo='

fail() {
    echo "FAILED: $1" >&2
    sed 's/^/    /' "$head" >&2
    exit 1
}

passed() {
    checks=$((checks + 1))
    echo "  $1"
}

# request STATUS WHAT CURL-ARGUMENT...: one request, whose answer must have the status.
request() {
    local status=$1 what=$2 seen
    shift 2
    : >"$head"
    : >"$body"
    seen=$(curl --silent --show-error --noproxy '*' --http1.1 --max-time 10 --dump-header "$head" \
        --output "$body" --write-out '%{http_code}' "$@") || fail "$what: curl failed"
    [[ $seen =~ ^($status)$ ]] || fail "$what: status $seen, expected $status"
    passed "$what: $seen"
}

has_header() {
    grep -qiE "^$1"$'\r?$' "$head" || fail "no header $1"
    passed "  $1"
}

has_no_header() {
    ! grep -qi "^$1:" "$head" || fail "there is a header $1"
    passed "  no $1"
}

size_is() {
    [[ $(stat -c %s "$body") == "$1" ]] || fail "a body of $(stat -c %s "$body") bytes, expected $1"
    passed "  body of $1 bytes"
}

request 200 'GET /' "$url/"
has_header 'content-type: text/html.*'
has_header "content-security-policy: .*default-src 'none'.*"
grep -q '<title>' "$body" || fail 'the page has no title'
length=$(stat -c %s "$body")
has_header "content-length: $length"

request 200 'HEAD /' --head "$url/"
has_header "content-length: $length"
# With --head curl writes the head as the body, so that both are equal when no body came.
cmp -s "$head" "$body" || fail 'HEAD has a body'

request 200 'GET /page.js' "$url/page.js"
has_header 'content-type: (text|application)/javascript.*'
script_length=$(stat -c %s "$body")
cp "$body" "$answers/script"
etag=$(grep -i '^etag:' "$head" | tr -d '\r' | cut -d' ' -f2- || true)
request 200 'GET /page.css' "$url/page.css"
has_header 'content-type: text/css.*'

request 206 'GET /page.js, the first ten bytes' --range 0-9 "$url/page.js"
has_header "content-range: bytes 0-9/$script_length"
size_is 10
cmp -s "$body" <(head -c 10 "$answers/script") || fail 'not the first ten bytes'
request 416 'GET /page.js, a range behind its end' --range 99999999- "$url/page.js"
[[ -n $etag ]] || fail 'no etag'
request 304 'GET /page.js, not changed' -H "If-None-Match: $etag" "$url/page.js"
size_is 0

request 404 'GET /no/such/file' "$url/no/such/file"
request '400|404' 'GET with dots' --path-as-is "$url/../../../../etc/passwd"
request 405 'POST /' --data 'a=b' "$url/"
has_header 'allow: .*GET.*'
request '200|204' 'OPTIONS /' --request OPTIONS "$url/"
has_header 'allow: .*GET.*'

# The second URL of one curl must need no second connection.
connects=$(curl --silent --noproxy '*' --http1.1 --max-time 10 --output /dev/null --output /dev/null \
    --write-out '%{num_connects} ' "$url/" "$url/page.css")
[[ $connects == '1 0 ' ]] || fail "two requests made these connections: $connects"
passed 'two requests on one connection'

request '400|426' 'GET /echo without an upgrade' "$url/echo"
request 426 'upgrade with version 12' "${upgrade[@]}" -H 'Sec-WebSocket-Version: 12' "$url/echo"
has_header 'sec-websocket-version: 13'
request 400 'upgrade with only another subprotocol' "${upgrade[@]}" -H 'Sec-WebSocket-Version: 13' \
    -H 'Sec-WebSocket-Protocol: other' "$url/echo"

# After a 101 curl would wait for ever, so it is given a second: code 28 says that it waited.
upgraded() {
    local what=$1 code=0
    shift
    : >"$head"
    curl --silent --noproxy '*' --http1.1 --max-time 1 --dump-header "$head" --output "$body" \
        "${upgrade[@]}" -H 'Sec-WebSocket-Version: 13' "$@" "$url/echo" || code=$?
    [[ $code == 28 ]] || fail "$what: curl ended with code $code"
    head -n 1 "$head" | grep -q '^HTTP/1.1 101 ' || fail "$what: not upgraded"
    passed "$what: 101"
    has_header 'upgrade: websocket'
    has_header 'connection: upgrade'
    has_header "sec-websocket-accept: ${accept//+/\\+}"
    has_no_header 'content-length'
}
upgraded 'upgrade'
has_no_header 'sec-websocket-protocol'
upgraded 'upgrade with the subprotocol echo' -H 'Sec-WebSocket-Protocol: other, echo'
has_header 'sec-websocket-protocol: echo'

echo "interop curl: $checks checks passed"
