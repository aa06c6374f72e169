// SPDX-License-Identifier: LGPL-2.1-or-later
#include "wire/rdma.h"

#include <fmt/format.h>

#include <algorithm>

#include "wire/byte_order.h"

namespace heca::wire {
namespace {

/// The part of a Hello that says something; what follows is reserved, zero and not sent.
constexpr std::size_t kHelloPart = 44;
static_assert(kHelloPart + sizeof(std::uint32_t) + sizeof(std::uint64_t) == kRdmaHelloSize);
/// A HelloReply without its text.
constexpr std::size_t kReplyPart = kHelloReplySize - kMaxTextLength;
constexpr std::size_t kAtPulse = kReplyPart;
constexpr std::size_t kAtDirectory = kAtPulse + 16;
constexpr std::size_t kReplyEnd = kAtDirectory + 16;
static_assert(kReplyEnd <= kRdmaReplySize);
constexpr std::size_t kAtTextLength = 11;  // in a HelloReply

Status Malformed(std::string_view what) {
  return {ErrorCode::kInvalidArgument, fmt::format("not a hecatonchire data connection: {}", what), ErrorScope::kConnection};
}

void Put(const RemoteMemory& memory, std::span<std::byte, 16> out) {
  PutLe<std::uint64_t>(out.first<8>(), memory.address);
  PutLe<std::uint32_t>(out.subspan<8, 4>(), memory.key);
  PutLe<std::uint32_t>(out.subspan<12, 4>(), 0);
}

Result<RemoteMemory> Get(std::span<const std::byte, 16> in) {
  if (GetLe<std::uint32_t>(in.subspan<12, 4>()) != 0) return Malformed("reserved bytes are set");
  return RemoteMemory{GetLe<std::uint64_t>(in.first<8>()), GetLe<std::uint32_t>(in.subspan<8, 4>())};
}

bool AllZero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

}  // namespace

void Encode(const RdmaHello& hello, std::span<std::byte, kRdmaHelloSize> out) {
  std::array<std::byte, kHelloSize> whole{};
  Encode(hello.hello, whole);
  std::copy_n(whole.begin(), kHelloPart, out.begin());
  PutLe<std::uint32_t>(out.subspan<kHelloPart, 4>(), hello.pulse.key);
  PutLe<std::uint64_t>(out.subspan<kHelloPart + 4, 8>(), hello.pulse.address);
}

Result<RdmaHello> DecodeRdmaHello(std::span<const std::byte> in) {
  if (in.size() < kRdmaHelloSize || !AllZero(in.subspan(kRdmaHelloSize))) return Malformed("private data of another size");
  std::array<std::byte, kHelloSize> whole{};
  std::copy_n(in.begin(), kHelloPart, whole.begin());
  HECA_ASSIGN_OR_RETURN(const Hello hello, DecodeHello(whole));
  const RemoteMemory pulse{GetLe<std::uint64_t>(in.subspan<kHelloPart + 4, 8>()),
                           GetLe<std::uint32_t>(in.subspan<kHelloPart, 4>())};
  return RdmaHello{hello, pulse};
}

void Encode(const RdmaReply& reply, std::span<std::byte, kRdmaReplySize> out) {
  std::array<std::byte, kHelloReplySize> whole{};
  HelloReply wordless = reply.reply;
  wordless.text.clear();
  Encode(wordless, whole);
  std::fill(out.begin(), out.end(), std::byte{0});
  std::copy_n(whole.begin(), kReplyPart, out.begin());
  Put(reply.pulse, out.subspan<kAtPulse, 16>());
  Put(reply.directory, out.subspan<kAtDirectory, 16>());
}

Result<RdmaReply> DecodeRdmaReply(std::span<const std::byte> in) {
  if (in.size() < kRdmaReplySize || !AllZero(in.subspan(kReplyEnd))) return Malformed("private data of another size");
  std::array<std::byte, kHelloReplySize> whole{};
  std::copy_n(in.begin(), kReplyPart, whole.begin());
  RdmaReply reply;
  HECA_ASSIGN_OR_RETURN(reply.reply, DecodeHelloReply(whole));
  if (reply.reply.code != ErrorCode::kOk) return Malformed("a refusal that admits");
  HECA_ASSIGN_OR_RETURN(reply.pulse, Get(in.subspan<kAtPulse, 16>()));
  HECA_ASSIGN_OR_RETURN(reply.directory, Get(in.subspan<kAtDirectory, 16>()));
  return reply;
}

void EncodeRefusal(const HelloReply& reply, std::span<std::byte, kRdmaRefusalSize> out) {
  HelloReply shorter = reply;
  shorter.text.resize(std::min(shorter.text.size(), kRdmaRefusalSize - kReplyPart));
  std::array<std::byte, kHelloReplySize> whole{};
  Encode(shorter, whole);
  std::copy_n(whole.begin(), kRdmaRefusalSize, out.begin());
}

Result<HelloReply> DecodeRefusal(std::span<const std::byte> in) {
  if (in.size() < kRdmaRefusalSize || !AllZero(in.subspan(kRdmaRefusalSize))) return Malformed("private data of another size");
  if (static_cast<std::size_t>(in[kAtTextLength]) > kRdmaRefusalSize - kReplyPart) return Malformed("text is too long");
  std::array<std::byte, kHelloReplySize> whole{};
  std::copy_n(in.begin(), kRdmaRefusalSize, whole.begin());
  HECA_ASSIGN_OR_RETURN(auto reply, DecodeHelloReply(whole));
  if (reply.code == ErrorCode::kOk) return Malformed("a refusal that admits");
  return reply;
}

void EncodeDirectoryCount(std::uint32_t entries, std::span<std::byte, kDirectoryHeaderSize> out) {
  std::fill(out.begin(), out.end(), std::byte{0});
  PutLe<std::uint32_t>(out.first<4>(), entries);
}

Result<std::uint32_t> DecodeDirectoryCount(std::span<const std::byte, kDirectoryHeaderSize> in) {
  const auto entries = GetLe<std::uint32_t>(in.first<4>());
  if (entries > kMaxDirectoryEntries || !AllZero(in.subspan<4>())) return Malformed("impossible directory");
  return entries;
}

void Encode(const DirectoryEntry& entry, std::span<std::byte, kDirectoryEntrySize> out) {
  PutLe<std::uint32_t>(out.first<4>(), entry.first.value());
  PutLe<std::uint32_t>(out.subspan<4, 4>(), entry.slots);
  Put(entry.pages, out.subspan<8, 16>());
  Put(entry.marks, out.subspan<24, 16>());
}

Result<DirectoryEntry> DecodeDirectoryEntry(std::span<const std::byte, kDirectoryEntrySize> in) {
  DirectoryEntry entry{Slot(GetLe<std::uint32_t>(in.first<4>())), GetLe<std::uint32_t>(in.subspan<4, 4>()), {}, {}};
  HECA_ASSIGN_OR_RETURN(entry.pages, Get(in.subspan<8, 16>()));
  HECA_ASSIGN_OR_RETURN(entry.marks, Get(in.subspan<24, 16>()));
  if (entry.first == kNoSlot || entry.slots == 0 || entry.slots - 1 > ~std::uint32_t{0} - entry.first.value()) {
    return Malformed("impossible slots in a directory");
  }
  return entry;
}

void Encode(const RemoteMemory& landing, std::span<std::byte, kLandingSize> out) { Put(landing, out); }

Result<RemoteMemory> DecodeLanding(std::span<const std::byte, kLandingSize> in) { return Get(in); }

}  // namespace heca::wire
