// SPDX-License-Identifier: LGPL-2.1-or-later
// What a call that can fail returns.
//
// A Status is a value: either ok (one null pointer, free to return) or an error with a code, the scope of what is
// affected, the errno that caused it if there was one, and a text with exact values and a remedy. It is logged once,
// where the cause is first known; everyone above passes it on. Errors of our own making (a broken invariant) are not
// a Status: they are HECA_CHECK (base/check.h).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace heca {

/// Why a call failed. The order is stable: control and wire carry these numbers.
enum class ErrorCode : std::uint8_t {
  kOk = 0,
  kInvalidArgument = 1,     ///< the caller's value is wrong, whatever the state
  kNotFound = 2,            ///< the thing named does not exist
  kAlreadyExists = 3,       ///< it is there already
  kPermissionDenied = 4,    ///< privilege or credentials are missing
  kFailedPrecondition = 5,  ///< the state does not allow it; the text says what to change
  kUnavailable = 6,         ///< the other side is not reachable now; retry
  kDeadlineExceeded = 7,    ///< time ran out; retry
  kResourceExhausted = 8,   ///< memory, quota, credits or descriptors are used up
  kBusy = 9,                ///< transient contention; retry at once or when told
  kAborted = 10,            ///< given up on request
  kDataLoss = 11,           ///< bytes that should be there are gone; never retried, never papered over
  kUnsupported = 12,        ///< this kernel, QEMU or peer cannot do it
  kInternal = 13,           ///< the kernel or a library answered outside its contract
};

/// What the failure affects, smallest first.
enum class ErrorScope : std::uint8_t { kNone = 0, kPage = 1, kRegion = 2, kReplica = 3, kConnection = 4, kNode = 5 };

[[nodiscard]] std::string_view ToString(ErrorCode code);
[[nodiscard]] std::string_view ToString(ErrorScope scope);

/// Thread-safe as any value is: distinct objects may be used from distinct threads.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(ErrorCode code, std::string message, ErrorScope scope = ErrorScope::kNone, int sys_errno = 0);
  Status(const Status& other);
  Status& operator=(const Status& other);
  Status(Status&&) noexcept = default;
  Status& operator=(Status&&) noexcept = default;
  ~Status() = default;

  /// An error from a system call: the text gets ": strerror (ENAME)" appended, the code follows from the errno.
  static Status FromErrno(int sys_errno, std::string_view what, ErrorScope scope = ErrorScope::kNone);

  [[nodiscard]] bool ok() const { return rep_ == nullptr; }
  [[nodiscard]] ErrorCode code() const { return rep_ ? rep_->code : ErrorCode::kOk; }
  [[nodiscard]] ErrorScope scope() const { return rep_ ? rep_->scope : ErrorScope::kNone; }
  [[nodiscard]] int sys_errno() const { return rep_ ? rep_->sys_errno : 0; }
  [[nodiscard]] std::string_view message() const { return rep_ ? std::string_view(rep_->message) : ""; }
  /// True where the same call can succeed later without anybody changing anything.
  [[nodiscard]] bool retryable() const;
  /// The same error with "context: " put before its text.
  [[nodiscard]] Status WithContext(std::string_view context) const;
  /// "UNAVAILABLE: text", or "OK".
  [[nodiscard]] std::string ToString() const;

 private:
  struct Rep {
    ErrorCode code;
    ErrorScope scope;
    int sys_errno;
    std::string message;
  };
  std::unique_ptr<Rep> rep_;
};

/// A T or the reason why there is none. Access to value() of an error is a programming error and ends the process.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}            // NOLINT: implicit by design, `return value;`
  Result(Status status) : status_(std::move(status)) {}    // NOLINT: implicit by design, `return status;`

  [[nodiscard]] bool ok() const { return value_.has_value(); }
  [[nodiscard]] const Status& status() const { return status_; }
  [[nodiscard]] T& value() & { return value_.value(); }
  [[nodiscard]] const T& value() const& { return value_.value(); }
  [[nodiscard]] T&& value() && { return std::move(value_).value(); }
  T* operator->() { return &value_.value(); }
  const T* operator->() const { return &value_.value(); }
  T& operator*() & { return value_.value(); }
  const T& operator*() const& { return value_.value(); }

 private:
  std::optional<T> value_;
  Status status_;
};

}  // namespace heca

/// Returns the error of `expr` (a Status) from the enclosing function.
#define HECA_RETURN_IF_ERROR(expr)                      \
  do {                                                  \
    if (::heca::Status heca_status_ = (expr); !heca_status_.ok()) return heca_status_; \
  } while (false)

#define HECA_CONCAT_INNER_(a, b) a##b
#define HECA_CONCAT_(a, b) HECA_CONCAT_INNER_(a, b)
/// Declares `lhs` from the value of `expr` (a Result), or returns its error.
#define HECA_ASSIGN_OR_RETURN(lhs, expr)                          \
  auto HECA_CONCAT_(heca_result_, __LINE__) = (expr);             \
  if (!HECA_CONCAT_(heca_result_, __LINE__).ok()) return HECA_CONCAT_(heca_result_, __LINE__).status(); \
  lhs = std::move(HECA_CONCAT_(heca_result_, __LINE__)).value()
