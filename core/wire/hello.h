// SPDX-License-Identifier: LGPL-2.1-or-later
// The first message in each direction of a data connection. Layouts are drawn in core/wire/README.md.
//
// Values and functions; nothing here does I/O or owns anything, and everything is thread-safe. A decoder returns an
// error (scope kConnection) for bytes that no peer of ours sends; the caller cuts the connection off.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "heca/page_store.h"
#include "heca/status.h"
#include "heca/types.h"

namespace heca::wire {

/// The size of these two, their magic and the place of the version numbers are the same in every version for ever.
inline constexpr std::size_t kHelloSize = 64;
inline constexpr std::size_t kHelloReplySize = 256;

/// Client to server.
struct Hello {
  std::array<std::byte, 16> token{};
  LeaseId lease;
  Epoch epoch;
  Role role = Role::kInvalid;
};

/// Server to client: what the connection may do, or why there is none.
struct HelloReply {
  ErrorCode code = ErrorCode::kOk;  ///< anything else is a refusal, with `text`; the numbers below are 0 then
  std::uint32_t page_size = 0;
  std::uint32_t slot_count = 0;    ///< slots of the lease now; may grow
  std::uint16_t max_batch = 0;     ///< slots in one message
  std::uint16_t credits = 0;       ///< operations without an answer
  std::uint32_t window_bytes = 0;  ///< payload bytes without an answer; one operation is always allowed
  std::string text;                ///< printable ASCII, at most kMaxTextLength
};

void Encode(const Hello& hello, std::span<std::byte, kHelloSize> out);
/// kUnsupported if the peer speaks no version of ours (the text names both ranges; answer it, then close); any other
/// error is not our protocol at all (close without an answer).
[[nodiscard]] Result<Hello> DecodeHello(std::span<const std::byte, kHelloSize> in);

/// Text that is too long is cut, characters that are not printable ASCII become '?'.
void Encode(const HelloReply& reply, std::span<std::byte, kHelloReplySize> out);
/// A refusal decodes fine (look at `code`). kUnsupported if the server chose a version that we do not speak.
[[nodiscard]] Result<HelloReply> DecodeHelloReply(std::span<const std::byte, kHelloReplySize> in);

}  // namespace heca::wire
