// SPDX-License-Identifier: LGPL-2.1-or-later
// A transport inside one process, without sockets: for tests, and as the reference of what a Channel promises.
//
// It is deliberately awkward where the contract allows it: reads and writes that are in flight together complete in
// reverse order. Bytes move when the client polls.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

#include "transport/channel.h"
#include "transport/server.h"

namespace heca::transport {

class LoopbackSite;

/// All listeners that loopback clients can reach. Thread-safe. Channels and servers may outlive it.
class LoopbackNetwork final : public Dialer {
 public:
  struct Options {
    std::uint16_t credits = 16;  ///< operations without a completion on one channel
  };

  LoopbackNetwork();
  explicit LoopbackNetwork(Options options);
  ~LoopbackNetwork() override;

  /// Until the returned Server is destroyed, `endpoint` can be dialled. Then its channels fail. `admission` outlives
  /// the Server. kAlreadyExists if somebody listens there.
  Result<std::unique_ptr<Server>> Listen(const Endpoint& endpoint, Admission& admission);
  /// kUnavailable if nobody listens there or the link is cut. A stalled link answers a dial.
  Result<std::unique_ptr<Channel>> Dial(const Endpoint& endpoint, const Hello& hello, Deadline deadline) override;

  /// Every channel to `endpoint` fails, and so do dials until Restore.
  void Cut(const Endpoint& endpoint);
  void Restore(const Endpoint& endpoint);
  /// Nothing that was started completes until Resume; channels stay open.
  void Stall(const Endpoint& endpoint);
  void Resume(const Endpoint& endpoint);

 private:
  std::shared_ptr<LoopbackSite> Find(const Endpoint& endpoint);

  const Options options_;
  std::mutex mutex_;
  /// Shared with the site's server and channels, which may outlive this object.
  std::map<std::string, std::shared_ptr<LoopbackSite>> sites_;
};

}  // namespace heca::transport
