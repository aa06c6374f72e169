// SPDX-License-Identifier: LGPL-2.1-or-later
// DecodeAnswer: what it accepts encodes to the very same bytes.
#include <algorithm>
#include <cstdlib>

#include "wire/message.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace heca::wire;
  if (size < kAnswerSize) return 0;
  std::array<std::byte, kAnswerSize> in;
  std::copy_n(reinterpret_cast<const std::byte*>(data), in.size(), in.begin());
  const auto answer = DecodeAnswer(in);
  if (!answer.ok()) return 0;
  if (answer->pages > kMaxBatch) std::abort();
  std::array<std::byte, kAnswerSize> out;
  Encode(*answer, out);
  if (out != in) std::abort();
  return 0;
}
