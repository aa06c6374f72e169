// SPDX-License-Identifier: LGPL-2.1-or-later
// DecodeHelloReply: what it accepts may size our buffers, and encodes to bytes that decode to the same.
#include <algorithm>
#include <cstdlib>

#include "wire/hello.h"
#include "wire/limits.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace heca::wire;
  if (size < kHelloReplySize) return 0;
  std::array<std::byte, kHelloReplySize> in;
  std::copy_n(reinterpret_cast<const std::byte*>(data), in.size(), in.begin());
  const auto reply = DecodeHelloReply(in);
  if (!reply.ok()) return 0;
  if (reply->text.size() > kMaxTextLength) std::abort();
  if (reply->code == heca::ErrorCode::kOk &&
      (!IsPageSize(reply->page_size) || std::size_t{reply->max_batch} * reply->page_size > kMaxPageSize ||
       reply->credits > kMaxCredits || reply->window_bytes > kMaxWindowBytes)) {
    std::abort();
  }
  std::array<std::byte, kHelloReplySize> out;
  Encode(*reply, out);
  const auto again = DecodeHelloReply(out);
  if (!again.ok() || again->code != reply->code || again->text != reply->text || again->page_size != reply->page_size) {
    std::abort();
  }
  return 0;
}
