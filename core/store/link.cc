// SPDX-License-Identifier: LGPL-2.1-or-later
#include "store/link.h"

#include <sys/eventfd.h>

#include <cerrno>
#include <utility>

namespace heca::store {

Result<std::shared_ptr<Link>> Link::Create(StreamName name, int connector_wake) {
  unique_fd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event) return Status::FromErrno(errno, "eventfd");
  // Shared by the reader or writer and the connector: whichever ends later.
  return std::shared_ptr<Link>(new Link(name, connector_wake, std::move(event)));
}

Link::Link(StreamName name, int connector_wake, unique_fd event)
    : name_(name), connector_wake_(connector_wake), event_(std::move(event)) {}

Link::~Link() {
  delete fresh_.load(std::memory_order_acquire);
  delete retired_.load(std::memory_order_acquire);
}

void Link::Wake() { static_cast<void>(::eventfd_write(event_.get(), 1)); }

void Link::ClearEvent() {
  eventfd_t count = 0;
  static_cast<void>(::eventfd_read(event_.get(), &count));  // EAGAIN: nothing to clear
}

std::unique_ptr<transport::Channel> Link::Take() {
  if (fresh_.load(std::memory_order_relaxed) == nullptr) return nullptr;
  ClearEvent();
  return std::unique_ptr<transport::Channel>(fresh_.exchange(nullptr, std::memory_order_acquire));
}

void Link::Retire(std::unique_ptr<transport::Channel> channel) {
  delete retired_.exchange(channel.release(), std::memory_order_acq_rel);
  stalled_.store(false, std::memory_order_relaxed);
  wants_.store(true, std::memory_order_release);
  static_cast<void>(::eventfd_write(connector_wake_, 1));
}

void Link::Bury() { delete retired_.exchange(nullptr, std::memory_order_acq_rel); }

void Link::Hand(std::unique_ptr<transport::Channel> channel, std::string transport) {
  {
    const std::lock_guard lock(text_mutex_);
    text_ = channel->Describe();
    transport_ = std::move(transport);
    ++connects_;
  }
  wants_.store(false, std::memory_order_relaxed);
  delete fresh_.exchange(channel.release(), std::memory_order_acq_rel);
  Wake();
}

void Link::End(const Status& why) {
  if (terminal() != nullptr) return;
  end_ = why;
  terminal_.store(&end_, std::memory_order_release);
  Wake();
}

LinkInfo Link::Info() const {
  const std::lock_guard lock(text_mutex_);
  return {text_,
          transport_,
          name_.role,
          !wants_.load(std::memory_order_relaxed),
          bytes_read_.load(std::memory_order_relaxed),
          bytes_written_.load(std::memory_order_relaxed),
          connects_};
}

}  // namespace heca::store
