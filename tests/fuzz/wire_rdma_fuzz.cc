// SPDX-License-Identifier: LGPL-2.1-or-later
// DecodeRdmaHello, DecodeRdmaReply, DecodeRefusal: whatever one accepts encodes to bytes that decode to the same. The first byte
// chooses.
#include <algorithm>
#include <cstdlib>

#include "wire/rdma.h"

namespace {

using namespace heca::wire;

void Check(bool same) {
  if (!same) std::abort();
}

void TryHello(std::span<const std::byte> in) {
  const auto hello = DecodeRdmaHello(in);
  if (!hello.ok()) return;
  std::array<std::byte, kRdmaHelloSize> out;
  Encode(*hello, out);
  const auto again = DecodeRdmaHello(out);
  Check(again.ok() && again->pulse == hello->pulse && again->hello.token == hello->hello.token &&
        again->hello.lease == hello->hello.lease);
}

void TryReply(std::span<const std::byte> in) {
  const auto reply = DecodeRdmaReply(in);
  if (!reply.ok()) return;
  std::array<std::byte, kRdmaReplySize> out;
  Encode(*reply, out);
  const auto again = DecodeRdmaReply(out);
  Check(again.ok() && again->directory == reply->directory && again->reply.page_size == reply->reply.page_size);
}

void TryRefusal(std::span<const std::byte> in) {
  const auto refusal = DecodeRefusal(in);
  if (!refusal.ok()) return;
  std::array<std::byte, kRdmaRefusalSize> out;
  EncodeRefusal(*refusal, out);
  const auto again = DecodeRefusal(out);
  Check(again.ok() && again->code == refusal->code && again->text == refusal->text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::span<const std::byte> in(reinterpret_cast<const std::byte*>(data) + 1, size - 1);
  if (data[0] % 3 == 0) TryHello(in);
  if (data[0] % 3 == 1) TryReply(in);
  if (data[0] % 3 == 2) TryRefusal(in);
  return 0;
}
