// SPDX-License-Identifier: LGPL-2.1-or-later
#include "store/remote_store.h"

#include <poll.h>

#include <optional>
#include <set>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "store/remote_reader.h"
#include "store/remote_writer.h"

namespace heca::store {

Result<std::unique_ptr<RemoteStore>> RemoteStore::Create(control::SponsorApi& sponsor, const control::Lease& lease,
                                                         RemoteOptions options, StoreObserver* observer) {
  std::unique_ptr<RemoteStore> store(new RemoteStore(sponsor, lease.page_size, true, observer));
  HECA_ASSIGN_OR_RETURN(store->connector_,
                        Connector::Create(sponsor, lease, std::nullopt, std::move(options), observer));
  return store;
}

Result<std::unique_ptr<RemoteStore>> RemoteStore::Resume(control::SponsorApi& sponsor, const control::Lease& lease,
                                                         const control::TakeOverRequest& take_over,
                                                         RemoteOptions options, StoreObserver* observer) {
  std::unique_ptr<RemoteStore> store(new RemoteStore(sponsor, lease.page_size, false, observer));
  HECA_ASSIGN_OR_RETURN(store->connector_,
                        Connector::Create(sponsor, lease, take_over, std::move(options), observer));
  return store;
}

Result<std::unique_ptr<RemoteStore>> RemoteStore::Await(control::SponsorApi& sponsor, const control::Lease& lease,
                                                        RemoteOptions options, StoreObserver* observer) {
  options.hold = true;
  std::unique_ptr<RemoteStore> store(new RemoteStore(sponsor, lease.page_size, false, observer));
  HECA_ASSIGN_OR_RETURN(store->connector_,
                        Connector::Create(sponsor, lease, std::nullopt, std::move(options), observer));
  return store;
}

Result<std::shared_ptr<Link>> RemoteStore::OpenLink(Role role) {
  HECA_ASSIGN_OR_RETURN(auto link, connector_->Open(role));
  const auto deadline = Deadline::After(connector_->options().open_wait);
  pollfd waiter{link->event_fd(), POLLIN, 0};
  if (!must_connect_) return link;
  while (::poll(&waiter, 1, deadline.LeftMs()) <= 0) {
    if (!deadline.Passed()) continue;  // a signal
    link->Close();
    const Status why = connector_->trouble();
    return Status(ErrorCode::kUnavailable,
                  fmt::format("no data connection to sponsor {} within {} ms{}; is its data port reachable?",
                              connector_->options().sponsor, connector_->options().open_wait.count(),
                              why.ok() ? "" : fmt::format(" ({})", why.message())),
                  ErrorScope::kConnection);
  }
  if (const Status* end = link->terminal()) {
    link->Close();
    return *end;
  }
  return link;
}

Result<std::unique_ptr<PageReader>> RemoteStore::OpenReader(Role role) {
  if (role != Role::kUrgent && role != Role::kBulk) {
    return Status(ErrorCode::kInvalidArgument, "a reader is urgent or bulk");
  }
  HECA_ASSIGN_OR_RETURN(auto link, OpenLink(role));
  return std::unique_ptr<PageReader>(std::make_unique<RemoteReader>(std::move(link), page_size_));
}

Result<std::unique_ptr<PageWriter>> RemoteStore::OpenWriter() {
  HECA_ASSIGN_OR_RETURN(auto link, OpenLink(Role::kBulk));
  return std::unique_ptr<PageWriter>(std::make_unique<RemoteWriter>(std::move(link), page_size_));
}

std::string RemoteStore::Transport() const {
  std::set<std::string> used;
  for (const auto& link : connector_->Links()) {
    if (!link.transport.empty()) used.insert(link.transport);
  }
  return fmt::format("{}", fmt::join(used, "+"));
}

std::string RemoteStore::Describe() const {
  std::string connection = "not connected";
  for (const auto& link : connector_->Links()) {
    if (!link.text.empty()) connection = link.text;
  }
  return fmt::format("sponsor {} ({}, lease {})", connector_->options().sponsor, connection,
                     connector_->lease().key.id.value());
}

Status RemoteStore::Extend(std::uint32_t more) {
  const auto extended = sponsor_.Extend(connector_->lease().key, more);
  if (!extended.ok()) return extended.status();
  connector_->Learn(*extended);
  if (observer_ != nullptr) observer_->OnLease(connector_->lease());
  return {};
}

Status RemoteStore::Free() {
  connector_->Shut(Status(ErrorCode::kAborted, "the store was closed", ErrorScope::kReplica));
  const Status status = sponsor_.Free(connector_->lease().key);
  return status.code() == ErrorCode::kNotFound ? Status() : status;
}

}  // namespace heca::store
