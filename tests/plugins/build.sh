#!/usr/bin/env bash
# Build the conformance plugins into tests/plugins/build: seconds, g++ alone, no CMake, no JUCE.
# The VST3 interface headers come from VST3_SDK_DIR, or from Debian's juce-modules-source-data.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
sdk=${VST3_SDK_DIR:-/usr/share/juce/modules/juce_audio_processors/format_types/VST3_SDK}
out=$here/build
architecture=$(uname -m)-linux
cxx=${CXX:-g++}

if [ "$(uname -s)" != Linux ]; then
  echo "build.sh: the conformance plugins are built on Linux only; this is $(uname -s)" >&2
  exit 1
fi
if ! command -v "$cxx" >/dev/null; then
  echo "build.sh: no C++ compiler '$cxx'; install g++ or set CXX" >&2
  exit 1
fi
if [ ! -f "$sdk/pluginterfaces/vst/ivstaudioprocessor.h" ]; then
  echo "build.sh: no VST3 headers in $sdk; install juce-modules-source-data or set VST3_SDK_DIR" >&2
  exit 1
fi

flags=(-std=c++17 -O2 -fPIC -fvisibility=hidden -fvisibility-inlines-hidden -Wall -Wextra -Wno-multichar
       -Wno-unused-parameter -DRELEASE=1 -isystem "$sdk")

# The C++ runtime is linked in and hidden: a host process may hold another one.
link=(-shared -static-libstdc++ -static-libgcc -Wl,--exclude-libs,ALL -Wl,--no-undefined -ldl -s)

# bundle NAME "SOURCE..." DEFINE...: compile what depends on the defines, link with what does not, write the bundle.
bundle() {
  local name=$1 sources=$2 objects=() source
  shift 2
  for source in $sources; do
    "$cxx" "${flags[@]}" "$@" -c "$here/src/$source.cpp" -o "$work/$name-$source.o" &
    objects+=("$work/$name-$source.o")
  done
  wait
  local folder=$work/$name.vst3/Contents/$architecture
  mkdir -p "$folder"
  "$cxx" "${objects[@]}" "$work"/plugin.o "$work"/funknown.o "$work"/coreiids.o "${link[@]}" -o "$folder/$name.so"
  rm -rf "${out:?}/$name.vst3"
  mv "$work/$name.vst3" "$out/"
}

# Nothing to do where every bundle is newer than every source.
is_current() {
  local name
  for name in ConformanceEffect ConformanceInstrument ConformancePair; do
    local binary=$out/$name.vst3/Contents/$architecture/$name.so
    [ -f "$binary" ] || return 1
    [ -z "$(find "$here/src" "$here/build.sh" -newer "$binary" -print -quit)" ] || return 1
  done
}

if is_current; then
  echo "conformance plugins are up to date in $out"
  exit 0
fi

mkdir -p "$out"
work=$(mktemp -d "$out/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT
"$cxx" "${flags[@]}" -c "$here/src/plugin.cpp" -o "$work/plugin.o" &
"$cxx" "${flags[@]}" -w -c "$sdk/pluginterfaces/base/funknown.cpp" -o "$work/funknown.o" &
"$cxx" "${flags[@]}" -w -c "$sdk/pluginterfaces/base/coreiids.cpp" -o "$work/coreiids.o" &
wait
bundle ConformanceEffect "effect factory" -DCONFORMANCE_EFFECT
bundle ConformanceInstrument "instrument factory" -DCONFORMANCE_INSTRUMENT
bundle ConformancePair "effect instrument factory" -DCONFORMANCE_EFFECT -DCONFORMANCE_INSTRUMENT \
  -DCONFORMANCE_NAME_SUFFIX='" B"' -DCONFORMANCE_CLASS_WORD=0x00000002
echo "built conformance plugins in $out"
