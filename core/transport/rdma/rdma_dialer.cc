// SPDX-License-Identifier: LGPL-2.1-or-later
#include "transport/rdma/rdma_dialer.h"

#include <map>
#include <mutex>
#include <string>
#include <tuple>

#include "transport/rdma/introduction.h"
#include "transport/rdma/rdma_channel.h"

namespace heca::transport {
namespace rdma {
namespace {

Result<std::unique_ptr<Channel>> Connect(const Endpoint& endpoint, const Hello& hello, std::shared_ptr<MarkBook> book,
                                         Deadline deadline) {
  HECA_ASSIGN_OR_RETURN(auto introduced, Introduce(endpoint, hello, deadline));
  HECA_ASSIGN_OR_RETURN(auto channel, RdmaChannel::Make(std::move(introduced.link), std::move(introduced.answers), hello.role,
                                                        introduced.reply, std::move(book), deadline));
  return std::unique_ptr<Channel>(std::move(channel));
}

}  // namespace
}  // namespace rdma

/// A lease's book goes with the last of its channels, and with its epoch: another owner may have written in between.
struct RdmaDialer::Books {
  using Key = std::tuple<std::string, LeaseId, Epoch>;
  Result<std::shared_ptr<rdma::MarkBook>> Of(const Key& key) {
    const std::lock_guard lock(mutex);
    std::erase_if(known, [](const auto& entry) { return entry.second.expired(); });
    if (auto there = known[key].lock()) return there;
    HECA_ASSIGN_OR_RETURN(auto made, rdma::MarkBook::Make());
    auto book = std::make_shared<rdma::MarkBook>(std::move(made));
    known[key] = book;
    return book;
  }
  std::mutex mutex;
  std::map<Key, std::weak_ptr<rdma::MarkBook>> known;
};

RdmaDialer::RdmaDialer() : books_(std::make_unique<Books>()) {}
RdmaDialer::~RdmaDialer() = default;

Result<std::unique_ptr<Channel>> RdmaDialer::Dial(const Endpoint& endpoint, const Hello& hello, Deadline deadline) {
  HECA_ASSIGN_OR_RETURN(auto book, books_->Of({endpoint.ToString(), hello.lease, hello.epoch}));
  auto channel = rdma::Connect(endpoint, hello, std::move(book), deadline);
  if (!channel.ok()) return channel.status().WithContext("rdma " + endpoint.ToString());
  return channel;
}

}  // namespace heca::transport
