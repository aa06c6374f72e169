// SPDX-License-Identifier: LGPL-2.1-or-later
// What the data plane says over RDMA and not over a byte stream: the hello and its reply as private data of the connection's
// set-up, and where the pages of a request land. Layouts are drawn in core/wire/README.md.
//
// Values and functions; no I/O, thread-safe. A decoder's error (scope kConnection) means that no peer of ours sent this.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "heca/status.h"
#include "wire/hello.h"
#include "wire/limits.h"
#include "wire/message.h"

namespace heca::wire {

/// What the connection manager carries of ours over InfiniBand: 92, 224 and 148 bytes less its own (IBA 12.7, rdma_cm(7)).
inline constexpr std::size_t kRdmaHelloSize = 56;
inline constexpr std::size_t kRdmaReplySize = 112;
inline constexpr std::size_t kRdmaRefusalSize = 148;

/// Memory of the peer, registered there. Key 0 with address 0: none.
struct RemoteMemory {
  std::uint64_t address = 0;
  std::uint32_t key = 0;
  bool operator==(const RemoteMemory&) const = default;
};

/// Client to server.
struct RdmaHello {
  Hello hello;
  RemoteMemory pulse;  ///< eight bytes that the server may read, to learn whether the client's host lives
};

/// Server to client, when it is admitted.
struct RdmaReply {
  HelloReply reply;
  RemoteMemory pulse;
  RemoteMemory directory;  ///< of the lease's slabs, for one-sided access; none: everything is asked of the server
};

void Encode(const RdmaHello& hello, std::span<std::byte, kRdmaHelloSize> out);
/// `in` may be longer: some fabrics pad it.
[[nodiscard]] Result<RdmaHello> DecodeRdmaHello(std::span<const std::byte> in);
void Encode(const RdmaReply& reply, std::span<std::byte, kRdmaReplySize> out);
[[nodiscard]] Result<RdmaReply> DecodeRdmaReply(std::span<const std::byte> in);
/// A refusal, whose text is cut to what fits.
void EncodeRefusal(const HelloReply& reply, std::span<std::byte, kRdmaRefusalSize> out);
[[nodiscard]] Result<HelloReply> DecodeRefusal(std::span<const std::byte> in);

/// Of the server, for one-sided access: where slots lie, in registered memory that the client reads by itself. It only grows; a
/// header with the number of entries, and the entries.
inline constexpr std::size_t kDirectoryHeaderSize = 16;
inline constexpr std::size_t kDirectoryEntrySize = 40;
/// 256 GiB in slabs of 64 MiB; slots of what is beyond are asked of the server.
inline constexpr std::size_t kMaxDirectoryEntries = 4096;
inline constexpr std::size_t kMaxDirectorySize = kDirectoryHeaderSize + kMaxDirectoryEntries * kDirectoryEntrySize;
struct DirectoryEntry {
  Slot first;
  std::uint32_t slots = 0;
  RemoteMemory pages;
  RemoteMemory marks;  ///< a byte for each slot; 0: free, 1: written
  bool operator==(const DirectoryEntry&) const = default;
};
void EncodeDirectoryCount(std::uint32_t entries, std::span<std::byte, kDirectoryHeaderSize> out);
[[nodiscard]] Result<std::uint32_t> DecodeDirectoryCount(std::span<const std::byte, kDirectoryHeaderSize> in);
void Encode(const DirectoryEntry& entry, std::span<std::byte, kDirectoryEntrySize> out);
[[nodiscard]] Result<DirectoryEntry> DecodeDirectoryEntry(std::span<const std::byte, kDirectoryEntrySize> in);

/// Before each request: the client's memory that its pages are written to (read), or fetched from (write).
inline constexpr std::size_t kLandingSize = 16;
inline constexpr std::size_t kMaxRdmaRequestSize = kLandingSize + kMaxRequestSize;
void Encode(const RemoteMemory& landing, std::span<std::byte, kLandingSize> out);
[[nodiscard]] Result<RemoteMemory> DecodeLanding(std::span<const std::byte, kLandingSize> in);

}  // namespace heca::wire
