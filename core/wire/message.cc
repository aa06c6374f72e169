// SPDX-License-Identifier: LGPL-2.1-or-later
#include "wire/message.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "wire/byte_order.h"

namespace heca::wire {
namespace {

/// First byte of an answer.
enum class Outcome : std::uint8_t { kInvalid = 0, kDone = 1, kFailed = 2 };

Status Malformed(std::string_view what, std::uint64_t value) {
  return {ErrorCode::kInvalidArgument, fmt::format("the peer broke the data-plane protocol: {} {}", what, value),
          ErrorScope::kConnection};
}

}  // namespace

std::size_t EncodeRequest(RequestKind kind, RequestId id, std::span<const Slot> slots,
                          std::span<std::byte, kMaxRequestSize> out) {
  HECA_CHECK(!slots.empty() && slots.size() <= kMaxBatch);
  const std::size_t size = RequestSize(slots.size());
  out[0] = static_cast<std::byte>(kind);
  out[1] = std::byte{0};
  PutLe<std::uint16_t>(out.subspan<2, 2>(), static_cast<std::uint16_t>(slots.size()));
  PutLe<std::uint32_t>(out.subspan<4, 4>(), 0);
  PutLe<std::uint64_t>(out.subspan<8, 8>(), id.value());
  auto list = out.subspan(kRequestHeaderSize, size - kRequestHeaderSize);
  for (const Slot slot : slots) {
    PutLe<std::uint32_t>(list.first<4>(), slot.value());
    list = list.subspan(4);
  }
  std::fill(list.begin(), list.end(), std::byte{0});
  return size;
}

Result<RequestHeader> DecodeRequestHeader(std::span<const std::byte, kRequestHeaderSize> in) {
  RequestHeader header;
  const auto kind = static_cast<std::uint8_t>(in[0]);
  if (kind == 0 || kind > static_cast<std::uint8_t>(RequestKind::kRelease)) return Malformed("request of kind", kind);
  header.kind = static_cast<RequestKind>(kind);
  header.count = GetLe<std::uint16_t>(in.subspan<2, 2>());
  if (header.count == 0 || header.count > kMaxBatch) return Malformed("slot list of length", header.count);
  header.id = RequestId(GetLe<std::uint64_t>(in.subspan<8, 8>()));
  if (header.id.value() == 0) return Malformed("request id", 0);
  const auto reserved = GetLe<std::uint32_t>(in.subspan<4, 4>());
  if (in[1] != std::byte{0} || reserved != 0) return Malformed("reserved bytes are set in request", header.id.value());
  return header;
}

Status DecodeSlots(const RequestHeader& header, std::span<const std::byte> in, std::span<Slot, kMaxBatch> slots) {
  if (header.count == 0 || header.count > kMaxBatch || in.size() != RequestSize(header.count) - kRequestHeaderSize) {
    return Malformed("slot list of length", in.size());
  }
  std::size_t index = 0;
  for (; !in.empty(); in = in.subspan(4), ++index) {
    const auto slot = GetLe<std::uint32_t>(in.first<4>());
    const bool padding = index >= header.count;
    if (padding != (slot == 0)) return Malformed(padding ? "padding holds slot" : "slot list holds slot", slot);
    if (!padding) slots[index] = Slot(slot);
  }
  return {};
}

void Encode(const Answer& answer, std::span<std::byte, kAnswerSize> out) {
  out[0] = static_cast<std::byte>(answer.code == ErrorCode::kOk ? Outcome::kDone : Outcome::kFailed);
  out[1] = static_cast<std::byte>(answer.code);
  PutLe<std::uint16_t>(out.subspan<2, 2>(), answer.pages);
  PutLe<std::uint32_t>(out.subspan<4, 4>(), answer.slot.value());
  PutLe<std::uint64_t>(out.subspan<8, 8>(), answer.id.value());
}

Result<Answer> DecodeAnswer(std::span<const std::byte, kAnswerSize> in) {
  const auto outcome = static_cast<Outcome>(in[0]);
  const auto code = static_cast<std::uint8_t>(in[1]);
  if (outcome != Outcome::kDone && outcome != Outcome::kFailed) {
    return Malformed("answer with outcome", static_cast<std::uint8_t>(in[0]));
  }
  const bool failed = outcome == Outcome::kFailed;
  if (failed != (code != 0) || code > static_cast<std::uint8_t>(ErrorCode::kInternal)) {
    return Malformed("answer with error code", code);
  }
  Answer answer;
  answer.code = static_cast<ErrorCode>(code);
  answer.pages = GetLe<std::uint16_t>(in.subspan<2, 2>());
  answer.slot = Slot(GetLe<std::uint32_t>(in.subspan<4, 4>()));
  answer.id = RequestId(GetLe<std::uint64_t>(in.subspan<8, 8>()));
  if (answer.id.value() == 0) return Malformed("answer to request", 0);
  if (answer.pages > kMaxBatch || (failed && answer.pages != 0)) return Malformed("answer with pages", answer.pages);
  if (!failed && answer.slot != kNoSlot) return Malformed("answer that is done names slot", answer.slot.value());
  return answer;
}

}  // namespace heca::wire
