// SPDX-License-Identifier: LGPL-2.1-or-later
// Requests and answers of an open data connection. Layouts and sequences are drawn in core/wire/README.md.
//
// Values and functions; no I/O, no allocation unless a decoder fails, thread-safe. A decoder's error (scope
// kConnection) means that the peer does not speak the protocol: the caller cuts the connection off.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "heca/status.h"
#include "heca/types.h"
#include "wire/limits.h"

namespace heca::wire {

inline constexpr std::size_t kRequestHeaderSize = 16;
inline constexpr std::size_t kAnswerSize = 16;
/// Slot lists are padded with zeros to a multiple of this, so that every request has at least 32 bytes and the list
/// of a one-page read arrives with its header.
inline constexpr std::size_t kSlotListUnit = 4;
inline constexpr std::size_t kMinRequestSize = kRequestHeaderSize + kSlotListUnit * 4;
inline constexpr std::size_t kMaxRequestSize = kRequestHeaderSize + kMaxBatch * 4;
static_assert(kMinRequestSize == 32, "a one-page read is 32 bytes");
static_assert(kMaxBatch % kSlotListUnit == 0);

enum class RequestKind : std::uint8_t {
  kInvalid = 0,
  kRead = 1,
  kWrite = 2,       ///< payload follows; a slot that is written already is an error
  kWriteAgain = 3,  ///< payload follows; a slot that is written already keeps its bytes: they are the same
  kRelease = 4,
};

/// Chosen by the client, different for every request of a connection; 0 is invalid.
using RequestId = Strong<struct RequestIdTag, std::uint64_t>;

struct RequestHeader {
  RequestKind kind = RequestKind::kInvalid;
  std::uint16_t count = 0;  ///< slots in the list, 1 to kMaxBatch
  RequestId id;
};

/// Bytes of header and padded slot list.
[[nodiscard]] constexpr std::size_t RequestSize(std::size_t count) {
  return kRequestHeaderSize + (count + kSlotListUnit - 1) / kSlotListUnit * kSlotListUnit * 4;
}
static_assert(RequestSize(1) == kMinRequestSize && RequestSize(kMaxBatch) == kMaxRequestSize);

/// Writes header and slot list; returns RequestSize(slots.size()). `slots` holds 1 to kMaxBatch.
std::size_t EncodeRequest(RequestKind kind, RequestId id, std::span<const Slot> slots,
                          std::span<std::byte, kMaxRequestSize> out);
[[nodiscard]] Result<RequestHeader> DecodeRequestHeader(std::span<const std::byte, kRequestHeaderSize> in);
/// `in` holds the padded list that follows the header: RequestSize(header.count) - kRequestHeaderSize bytes. Fills the
/// first header.count of `slots`; no slot is 0.
[[nodiscard]] Status DecodeSlots(const RequestHeader& header, std::span<const std::byte> in,
                                 std::span<Slot, kMaxBatch> slots);

/// Every request has one answer; answers come in the order of the requests.
struct Answer {
  ErrorCode code = ErrorCode::kOk;
  std::uint16_t pages = 0;  ///< pages that follow: the count of a read that succeeded, else 0
  Slot slot = kNoSlot;      ///< the first slot that failed, if the failure is a slot's
  RequestId id;
};

void Encode(const Answer& answer, std::span<std::byte, kAnswerSize> out);
[[nodiscard]] Result<Answer> DecodeAnswer(std::span<const std::byte, kAnswerSize> in);

}  // namespace heca::wire
