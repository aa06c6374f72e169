// SPDX-License-Identifier: LGPL-2.1-or-later
// The client's end of a data connection: reads, writes and releases slots of one lease.
//
// A transport implements Channel and Dialer (client), Server (transport/server.h); nothing above this room knows which one it
// has. The same conformance suite runs on all of them (tests/unit/transport).
//  * One-sided transports (RDMA) resolve a slot to remote address and key by the table they got at connect time;
//    two-sided ones (TCP) ask the server. Neither shows above this header.
//  * Operations on one channel are started in order; reads and writes may complete in any order; a Release completes
//    after all writes that were started before it on this channel.
//  * A channel that failed stays failed: Poll returns the error, and every operation without a completion is in doubt
//    and belongs to the caller, who opens another channel and starts it again. Writes and releases may be repeated:
//    see Attempt below. An operation that could not even be queued returns the error and was not started.
//  * An urgent channel carries reads only; a write or release on it is kFailedPrecondition.
//  * A peer that is gone without a word (power, cut link) is noticed within about three seconds, idle or not. A peer
//    whose kernel lives while its process is stopped is not gone: operations wait for it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "heca/page_store.h"
#include "heca/status.h"
#include "heca/types.h"

namespace heca::transport {

/// "10.1.0.3:7300", "[::1]:7300".
struct Endpoint {
  std::string host;
  std::uint16_t port = 0;
  [[nodiscard]] std::string ToString() const;
  static Result<Endpoint> Parse(std::string_view text);
};

/// One-time secret from the control plane that admits one data connection.
using Token = std::array<std::byte, 16>;

/// "urgent", "bulk".
[[nodiscard]] std::string_view RoleName(Role role);

/// What a client says first. Anything that does not match the token is refused.
struct Hello {
  Token token{};
  LeaseId lease;
  Epoch epoch;
  Role role = Role::kInvalid;
};

/// Receives completions on the thread that called Poll.
class ChannelSink {
 public:
  virtual ~ChannelSink() = default;
  virtual void OnRead(OpTag tag, const Status& status, std::span<const std::byte> pages) = 0;
  virtual void OnWritten(OpTag tag, const Status& status) = 0;
  virtual void OnReleased(OpTag tag, const Status& status) = 0;
};

/// May a slot that is written already be written again? Only by a write that is sent a second time because the
/// connection was lost before its completion: the bytes are the same.
enum class Attempt : std::uint8_t { kInvalid = 0, kFirst = 1, kRepeated = 2 };

/// One thread at a time.
class Channel {
 public:
  virtual ~Channel() = default;
  /// As of PageWriter; pages that lie elsewhere are written too.
  virtual void WritesFrom(std::span<const std::byte> /*memory*/) {}
  /// kBusy: out of credits, nothing was started. Slots: 1 to MaxBatch().
  virtual Status Read(OpTag tag, std::span<const Slot> slots) = 0;
  /// `pages` stays valid and unchanged until OnWritten or until the channel is destroyed.
  virtual Status Write(OpTag tag, std::span<const Slot> slots, std::span<const std::byte> pages, Attempt attempt) = 0;
  virtual Status Release(OpTag tag, std::span<const Slot> slots) = 0;
  /// Never blocks. An error means that the channel is dead.
  virtual Status Poll(ChannelSink& sink) = 0;
  [[nodiscard]] virtual PollNeed Need() const = 0;
  [[nodiscard]] virtual std::size_t MaxBatch() const = 0;
  [[nodiscard]] virtual Bytes PageSize() const = 0;
  /// Payload bytes moved since the connection was opened: {read, written}. Thread-safe.
  struct Traffic {
    std::uint64_t read = 0;
    std::uint64_t written = 0;
  };
  [[nodiscard]] virtual Traffic Moved() const = 0;
  /// "tcp 127.0.0.1:40112 -> 127.0.0.1:7300 urgent".
  [[nodiscard]] virtual std::string Describe() const = 0;
};

/// Opens channels. Thread-safe. Blocks until the peer has answered the hello or the deadline passes: never called on
/// a fault loop.
class Dialer {
 public:
  virtual ~Dialer() = default;
  virtual Result<std::unique_ptr<Channel>> Dial(const Endpoint& endpoint, const Hello& hello, Deadline deadline) = 0;
};

}  // namespace heca::transport
