// SPDX-License-Identifier: LGPL-2.1-or-later
// The numbers both ends hold each other to. No decoder accepts more; no buffer is sized by a peer's number before it
// was checked against one of these.
#pragma once

#include <cstddef>
#include <cstdint>

namespace heca::wire {

/// "HECA" as the first four bytes of a connection, in either direction.
inline constexpr std::uint32_t kMagic = 0x41434548;
/// What this build speaks: its own version and the one before. There is none before 1.
inline constexpr std::uint16_t kVersion = 1;
inline constexpr std::uint16_t kOldestVersion = 1;

/// Slots in one message. 64 pages of 4 KiB make 256 KiB, where one TCP stream over loopback is at its best.
inline constexpr std::size_t kMaxBatch = 64;
/// Payload of one message, unless a single page is larger.
inline constexpr std::size_t kMaxBatchBytes = kMaxBatch * 4096;
/// Base page of x86-64, and hugetlbfs. Sizes are powers of two.
inline constexpr std::uint32_t kMinPageSize = 4096;
inline constexpr std::uint32_t kMaxPageSize = 2U << 20;
/// Operations without an answer that a server may allow on one connection.
inline constexpr std::uint16_t kMaxCredits = 256;
/// Payload bytes without an answer that a server may allow on one connection.
inline constexpr std::uint32_t kMaxWindowBytes = 64U << 20;
/// Text of a refusal.
inline constexpr std::size_t kMaxTextLength = 192;

/// Slots that fit one message of a lease with pages of `page_size` bytes.
[[nodiscard]] constexpr std::size_t MaxBatchFor(std::uint32_t page_size) {
  return page_size >= kMaxBatchBytes ? 1 : kMaxBatchBytes / page_size;
}
static_assert(MaxBatchFor(kMinPageSize) == kMaxBatch && MaxBatchFor(kMaxPageSize) == 1);

[[nodiscard]] constexpr bool IsPageSize(std::uint64_t size) {
  return size >= kMinPageSize && size <= kMaxPageSize && (size & (size - 1)) == 0;
}

}  // namespace heca::wire
