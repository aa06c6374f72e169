// SPDX-License-Identifier: LGPL-2.1-or-later
// DecodeHello: whatever it accepts encodes to bytes that decode to the same.
#include <algorithm>
#include <cstdlib>

#include "wire/hello.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace heca::wire;
  if (size < kHelloSize) return 0;
  std::array<std::byte, kHelloSize> in;
  std::copy_n(reinterpret_cast<const std::byte*>(data), in.size(), in.begin());
  const auto hello = DecodeHello(in);
  if (!hello.ok()) return 0;
  std::array<std::byte, kHelloSize> out;
  Encode(*hello, out);
  const auto again = DecodeHello(out);
  if (!again.ok() || again->token != hello->token || again->lease != hello->lease || again->epoch != hello->epoch ||
      again->role != hello->role) {
    std::abort();
  }
  return 0;
}
