// SPDX-License-Identifier: LGPL-2.1-or-later
// DecodeRequestHeader and DecodeSlots, as the server calls them: what is accepted encodes to the very same bytes.
#include <algorithm>
#include <cstdlib>

#include "wire/message.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace heca::wire;
  const std::span<const std::byte> in(reinterpret_cast<const std::byte*>(data), size);
  if (in.size() < kRequestHeaderSize) return 0;
  const auto header = DecodeRequestHeader(in.first<kRequestHeaderSize>());
  if (!header.ok()) return 0;
  std::array<heca::Slot, kMaxBatch> slots;
  const std::size_t wanted = RequestSize(header->count);
  const auto list = in.subspan(kRequestHeaderSize, std::min(wanted, size) - kRequestHeaderSize);
  if (!DecodeSlots(*header, list, slots).ok()) return 0;
  std::array<std::byte, kMaxRequestSize> out;
  const std::size_t encoded = EncodeRequest(header->kind, header->id, std::span(slots).first(header->count), out);
  if (encoded != wanted || !std::equal(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(encoded), in.begin())) {
    std::abort();
  }
  return 0;
}
