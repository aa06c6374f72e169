// SPDX-License-Identifier: LGPL-2.1-or-later
// Where an engine thread (which owns a channel and must never block) and the connector thread (which does everything
// that blocks) meet. No lock: a channel changes hands by an exchange of a pointer, and an eventfd wakes the other side.
//
//   engine: channel failed ──Retire──> connector: destroys it, asks for a token, dials ──Hand──> engine: Take
//
// At most one channel of a link exists at any time, on either side: the old one is destroyed before the new one is
// dialled.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "base/unique_fd.h"
#include "heca/page_store.h"
#include "heca/status.h"
#include "store/lease_view.h"
#include "transport/channel.h"

namespace heca::store {

/// For metrics and `hecactl nodes`.
struct LinkInfo {
  std::string text;  ///< "tcp 127.0.0.1:40112 -> 127.0.0.1:7300 urgent"; empty: not connected yet
  std::string transport;  ///< "tcp"; empty: not connected yet
  Role role = Role::kInvalid;
  bool connected = false;
  std::uint64_t bytes_read = 0;
  std::uint64_t bytes_written = 0;
  std::uint64_t connects = 0;
};

class Link {
 public:
  /// `connector_wake`: an eventfd that the connector waits on; it outlives the link's engine side.
  static Result<std::shared_ptr<Link>> Create(StreamName name, int connector_wake);
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  // Engine side, one thread.

  /// The new channel if there is one, else null.
  std::unique_ptr<transport::Channel> Take();
  /// Gives up a channel (null: there is none) and asks for another.
  void Retire(std::unique_ptr<transport::Channel> channel);
  /// Set once, for good: why no channel will come any more. Null: one will.
  [[nodiscard]] const Status* terminal() const { return terminal_.load(std::memory_order_acquire); }
  /// True once after the connector decided that the channel is stuck.
  [[nodiscard]] bool TakeStalled() {
    return stalled_.load(std::memory_order_relaxed) && stalled_.exchange(false, std::memory_order_relaxed);
  }
  /// Readable when Take or terminal() has something new.
  [[nodiscard]] int event_fd() const { return event_.get(); }
  void ClearEvent();
  /// Relaxed stores that cost nothing: the connector looks at them now and then.
  void Publish(std::uint64_t completions, std::uint32_t in_flight) {
    completions_.store(completions, std::memory_order_relaxed);
    in_flight_.store(in_flight, std::memory_order_relaxed);
  }
  void Count(std::uint64_t bytes_read, std::uint64_t bytes_written) {
    bytes_read_.store(bytes_read, std::memory_order_relaxed);
    bytes_written_.store(bytes_written, std::memory_order_relaxed);
  }
  void Close() { closed_.store(true, std::memory_order_release); }

  // Connector side, one thread.

  [[nodiscard]] const StreamName& name() const { return name_; }
  [[nodiscard]] bool wants_channel() const { return wants_.load(std::memory_order_acquire); }
  [[nodiscard]] bool closed() const { return closed_.load(std::memory_order_acquire); }
  /// Destroys what the engine gave up.
  void Bury();
  /// `transport`: as in control::DataEndpoint.
  void Hand(std::unique_ptr<transport::Channel> channel, std::string transport);
  void End(const Status& why);
  void Stall() { stalled_.store(true, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t completions() const { return completions_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint32_t in_flight() const { return in_flight_.load(std::memory_order_relaxed); }

  /// Any thread.
  [[nodiscard]] LinkInfo Info() const;

 private:
  Link(StreamName name, int connector_wake, unique_fd event);
  void Wake();

  const StreamName name_;
  const int connector_wake_;
  const unique_fd event_;
  std::atomic<transport::Channel*> fresh_{nullptr};    ///< owned
  std::atomic<transport::Channel*> retired_{nullptr};  ///< owned
  std::atomic<bool> wants_{true};
  std::atomic<bool> stalled_{false};
  std::atomic<bool> closed_{false};
  std::atomic<const Status*> terminal_{nullptr};  ///< points at end_
  Status end_;
  std::atomic<std::uint64_t> completions_{0};
  std::atomic<std::uint32_t> in_flight_{0};
  std::atomic<std::uint64_t> bytes_read_{0};
  std::atomic<std::uint64_t> bytes_written_{0};
  mutable std::mutex text_mutex_;  ///< of what Info shows; never taken by the engine
  std::string text_;
  std::string transport_;
  std::uint64_t connects_ = 0;
};

}  // namespace heca::store
