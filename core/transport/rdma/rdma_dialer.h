// SPDX-License-Identifier: LGPL-2.1-or-later
// Connects to an RdmaServer over whatever device routes to it. The token travels in the private data of the set-up.
#pragma once

#include <memory>

#include "transport/channel.h"

namespace heca::transport {

/// Thread-safe. kUnsupported in a build without libibverbs.
class RdmaDialer final : public Dialer {
 public:
  RdmaDialer();
  ~RdmaDialer() override;
  Result<std::unique_ptr<Channel>> Dial(const Endpoint& endpoint, const Hello& hello, Deadline deadline) override;

 private:
  struct Books;  ///< what is known of leases, for all channels of each
  const std::unique_ptr<Books> books_;
};

}  // namespace heca::transport
