#!/usr/bin/env bash
# Installs the Autobahn testsuite into the cache and leaves a launcher there: `wstest`.
#
# The suite is Python 2 source, so it wants an interpreter of its own. Nothing is installed
# outside the cache folder, and a second call finds everything in place and returns at once.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=${WIRELOOP_CACHE:-$root/.cache}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)/autobahn
launcher=$cache/wstest

# Prints the path of a working Python 2.7, or fails. A pyenv shim exists even for versions
# that are not selected, so a candidate counts only if it runs.
find_python() {
    local candidate version
    for candidate in python2.7 "$cache/python2.7"; do
        if "$candidate" -c 'import ssl' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    command -v pyenv >/dev/null || return 1
    version=$(pyenv versions --bare | grep -E '^2\.7\.[0-9]+$' | tail -n 1) || return 1
    candidate=$(PYENV_VERSION=$version pyenv prefix)/bin/python2.7
    "$candidate" -c 'import ssl' 2>/dev/null && echo "$candidate"
}

# Debian's last release with Python 2.7 is bullseye. Its packages are unpacked beside the
# suite, never installed, from the same mirror that this machine's apt already uses.
unpack_debian_python() {
    local mirror apt="$cache/apt" tree="$cache/debian"
    # shellcheck disable=SC2016 # apt expands these, not the shell.
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(COMPONENT)' 'Created-By: Packages' |
        awk '$2 == "main" && $1 !~ /security/ { print $1; exit }')
    rm -rf "$apt" "$tree"
    mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$apt/packages" "$tree"
    echo "deb $mirror bullseye main" >"$apt/sources.list"
    local options=(
        -o "Dir::Etc::SourceList=$apt/sources.list" -o Dir::Etc::SourceParts=-
        -o "Dir::State::Lists=$apt/lists" -o "Dir::Cache::Archives=$apt/archives"
        -o "Dir::Cache::pkgcache=" -o "Dir::Cache::srcpkgcache=" -o APT::Sandbox::User=root
    )
    apt-get "${options[@]}" update
    (cd "$apt/packages" && apt-get "${options[@]}" download python2.7 python2.7-minimal \
        libpython2.7-minimal libpython2.7-stdlib libpython2.7-dev libssl1.1 libffi7)
    local package
    for package in "$apt"/packages/*.deb; do
        dpkg -x "$package" "$tree"
    done
    cat >"$cache/python2.7" <<SCRIPT
#!/bin/sh
export LD_LIBRARY_PATH=$tree/usr/lib/$(uname -m)-linux-gnu
export C_INCLUDE_PATH=$tree/usr/include/python2.7:$tree/usr/include
exec $tree/usr/bin/python2.7 "\$@"
SCRIPT
    chmod +x "$cache/python2.7"
    rm -rf "$apt"
}

# pip 20.3.4 is the last one that runs on Python 2. It is run from its wheel, because
# Debian's interpreter brings no pip, and neither setuptools nor wheel to build with.
install_suite() {
    local python=$1 modules=$cache/modules extra=$cache/modules-extra build=$cache/build
    rm -rf "$modules" "$extra" "$build"
    python3 -m venv "$cache/venv"
    "$cache/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps \
        --dest "$cache" pip==20.3.4
    local pip=(env "PYTHONPATH=$build" "$python" "$cache/pip-20.3.4-py2.py3-none-any.whl/pip"
        --quiet --no-python-version-warning --disable-pip-version-check install)
    "${pip[@]}" --target "$build" setuptools==44.1.1 wheel==0.37.1
    "${pip[@]}" --target "$modules" setuptools==44.1.1 incremental==16.10.1 zope.interface==5.5.2 \
        Twisted==20.3.0 autobahn==0.10.9 six txaio==2.1.0 jinja2==2.11.3 markupsafe==1.1.1 \
        klein==20.6.0 werkzeug==1.0.1
    # `--target` refuses folders that exist, so later batches go through a folder of their own.
    "${pip[@]}" --target "$extra" cryptography==3.3.2 pyOpenSSL==19.1.0 \
        service_identity==18.1.0 unittest2==1.1.0
    "${pip[@]}" --target "$extra" --no-deps --upgrade autobahntestsuite==25.10.1
    # C versions of masking and UTF-8 checks, which the suite uses when they are there: they
    # make group 9 several times faster, and nothing else depends on them.
    "${pip[@]}" --target "$extra" --no-deps --upgrade --no-build-isolation wsaccel==0.6.3 ||
        echo "autobahn: no wsaccel here, the large messages will be slow"
    cp -rn "$extra/." "$modules"
    rm -rf "$extra" "$build"
    touch "$modules/zope/__init__.py"
}

if [[ -x $launcher ]] && "$launcher" --help >/dev/null 2>&1 && grep -q fast_utf8 "$launcher"; then
    exit 0
fi
mkdir -p "$cache"
if ! python=$(find_python); then
    echo "autobahn: no Python 2.7 here, unpacking Debian's"
    unpack_debian_python
    python=$(find_python)
fi
install_suite "$python"
cat >"$launcher" <<SCRIPT
#!/bin/sh
export PYTHONPATH=$cache/modules:$root/tests/autobahn PYTHONDONTWRITEBYTECODE=1
exec $python -W ignore -c 'import fast_utf8; from autobahntestsuite.wstest import run; run()' "\$@"
SCRIPT
chmod +x "$launcher"
"$launcher" --help >/dev/null
echo "autobahn: installed in $cache"
