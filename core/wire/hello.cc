// SPDX-License-Identifier: LGPL-2.1-or-later
#include "wire/hello.h"

#include <fmt/format.h>

#include <algorithm>

#include "wire/byte_order.h"
#include "wire/limits.h"

namespace heca::wire {
namespace {

// Offsets in a Hello.
constexpr std::size_t kAtMagic = 0;
constexpr std::size_t kAtOldest = 4;
constexpr std::size_t kAtNewest = 6;
constexpr std::size_t kAtToken = 8;
constexpr std::size_t kAtLease = 24;
constexpr std::size_t kAtEpoch = 32;
constexpr std::size_t kAtRole = 40;
constexpr std::size_t kHelloUsed = 41;
static_assert(kHelloUsed <= kHelloSize);

// Offsets in a HelloReply; magic and versions as in a Hello.
constexpr std::size_t kAtChosen = 8;
constexpr std::size_t kAtCode = 10;
constexpr std::size_t kAtTextLength = 11;
constexpr std::size_t kAtPageSize = 12;
constexpr std::size_t kAtSlotCount = 16;
constexpr std::size_t kAtMaxBatch = 20;
constexpr std::size_t kAtCredits = 22;
constexpr std::size_t kAtWindow = 24;
constexpr std::size_t kReplyUsed = 28;
constexpr std::size_t kAtText = kHelloReplySize - kMaxTextLength;
static_assert(kReplyUsed <= kAtText && kMaxTextLength <= 255);

Status Malformed(std::string_view what) {
  return {ErrorCode::kInvalidArgument, fmt::format("not a hecatonchire data connection: {}", what),
          ErrorScope::kConnection};
}

template <std::size_t N>
bool AllZero(std::span<const std::byte, N> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

template <std::size_t N>
void PutPrefix(std::span<std::byte, N> out) {
  std::fill(out.begin(), out.end(), std::byte{0});
  PutLe<std::uint32_t>(out.template subspan<kAtMagic, 4>(), kMagic);
  PutLe<std::uint16_t>(out.template subspan<kAtOldest, 2>(), kOldestVersion);
  PutLe<std::uint16_t>(out.template subspan<kAtNewest, 2>(), kVersion);
}

/// Checks what never changes between versions.
template <std::size_t N>
Status CheckPrefix(std::span<const std::byte, N> in) {
  if (GetLe<std::uint32_t>(in.template subspan<kAtMagic, 4>()) != kMagic) return Malformed("wrong magic");
  const auto oldest = GetLe<std::uint16_t>(in.template subspan<kAtOldest, 2>());
  const auto newest = GetLe<std::uint16_t>(in.template subspan<kAtNewest, 2>());
  if (oldest == 0 || newest < oldest) return Malformed("impossible version range");
  if (oldest > kVersion || newest < kOldestVersion) {
    return {ErrorCode::kUnsupported,
            fmt::format("the peer speaks data-plane versions {} to {}, this hecad {} to {}: upgrade the older one",
                        oldest, newest, kOldestVersion, kVersion),
            ErrorScope::kConnection};
  }
  return {};
}

bool IsPrintable(char c) { return c >= 0x20 && c <= 0x7E; }

/// A reply that admits must allow at least one operation of at most what our buffers are built for.
bool ParametersAreSane(const HelloReply& reply) {
  return IsPageSize(reply.page_size) && reply.slot_count > 0 && reply.max_batch > 0 &&
         reply.max_batch <= MaxBatchFor(reply.page_size) && reply.credits > 0 && reply.credits <= kMaxCredits &&
         reply.window_bytes > 0 && reply.window_bytes <= kMaxWindowBytes;
}

}  // namespace

void Encode(const Hello& hello, std::span<std::byte, kHelloSize> out) {
  PutPrefix(out);
  std::copy(hello.token.begin(), hello.token.end(), out.subspan<kAtToken, 16>().begin());
  PutLe<std::uint64_t>(out.subspan<kAtLease, 8>(), hello.lease.value());
  PutLe<std::uint64_t>(out.subspan<kAtEpoch, 8>(), hello.epoch.value());
  out[kAtRole] = static_cast<std::byte>(hello.role);
}

Result<Hello> DecodeHello(std::span<const std::byte, kHelloSize> in) {
  HECA_RETURN_IF_ERROR(CheckPrefix(in));
  Hello hello;
  const auto token = in.subspan<kAtToken, 16>();
  std::copy(token.begin(), token.end(), hello.token.begin());
  hello.lease = LeaseId(GetLe<std::uint64_t>(in.subspan<kAtLease, 8>()));
  hello.epoch = Epoch(GetLe<std::uint64_t>(in.subspan<kAtEpoch, 8>()));
  const auto role = static_cast<std::uint8_t>(in[kAtRole]);
  if (hello.lease.value() == 0 || hello.epoch.value() == 0) return Malformed("lease or epoch 0");
  if (role != static_cast<std::uint8_t>(Role::kUrgent) && role != static_cast<std::uint8_t>(Role::kBulk)) {
    return Malformed("unknown role");
  }
  hello.role = static_cast<Role>(role);
  if (!AllZero(in.subspan<kHelloUsed>())) return Malformed("reserved bytes are set");
  return hello;
}

void Encode(const HelloReply& reply, std::span<std::byte, kHelloReplySize> out) {
  PutPrefix(out);
  const bool admitted = reply.code == ErrorCode::kOk;
  const std::size_t length = std::min(reply.text.size(), kMaxTextLength);
  out[kAtCode] = static_cast<std::byte>(reply.code);
  out[kAtTextLength] = static_cast<std::byte>(length);
  for (std::size_t i = 0; i < length; ++i) {
    out[kAtText + i] = static_cast<std::byte>(IsPrintable(reply.text[i]) ? reply.text[i] : '?');
  }
  if (!admitted) return;
  PutLe<std::uint16_t>(out.subspan<kAtChosen, 2>(), kVersion);
  PutLe<std::uint32_t>(out.subspan<kAtPageSize, 4>(), reply.page_size);
  PutLe<std::uint32_t>(out.subspan<kAtSlotCount, 4>(), reply.slot_count);
  PutLe<std::uint16_t>(out.subspan<kAtMaxBatch, 2>(), reply.max_batch);
  PutLe<std::uint16_t>(out.subspan<kAtCredits, 2>(), reply.credits);
  PutLe<std::uint32_t>(out.subspan<kAtWindow, 4>(), reply.window_bytes);
}

Result<HelloReply> DecodeHelloReply(std::span<const std::byte, kHelloReplySize> in) {
  HECA_RETURN_IF_ERROR(CheckPrefix(in));
  HelloReply reply;
  const auto code = static_cast<std::uint8_t>(in[kAtCode]);
  const auto length = static_cast<std::size_t>(in[kAtTextLength]);
  if (code > static_cast<std::uint8_t>(ErrorCode::kInternal)) return Malformed("unknown error code");
  if (length > kMaxTextLength) return Malformed("text is too long");
  reply.code = static_cast<ErrorCode>(code);
  reply.text.reserve(length);
  for (std::size_t i = 0; i < length; ++i) {
    const auto c = static_cast<char>(in[kAtText + i]);
    if (!IsPrintable(c)) return Malformed("text is not printable");
    reply.text.push_back(c);
  }
  if (reply.code != ErrorCode::kOk) return reply;

  const auto chosen = GetLe<std::uint16_t>(in.subspan<kAtChosen, 2>());
  if (chosen < kOldestVersion || chosen > kVersion) return Malformed("the server chose a version that was not offered");
  reply.page_size = GetLe<std::uint32_t>(in.subspan<kAtPageSize, 4>());
  reply.slot_count = GetLe<std::uint32_t>(in.subspan<kAtSlotCount, 4>());
  reply.max_batch = GetLe<std::uint16_t>(in.subspan<kAtMaxBatch, 2>());
  reply.credits = GetLe<std::uint16_t>(in.subspan<kAtCredits, 2>());
  reply.window_bytes = GetLe<std::uint32_t>(in.subspan<kAtWindow, 4>());
  if (!ParametersAreSane(reply)) return Malformed("impossible parameters");
  if (!AllZero(in.subspan<kReplyUsed, kAtText - kReplyUsed>())) return Malformed("reserved bytes are set");
  return reply;
}

}  // namespace heca::wire
