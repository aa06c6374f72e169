// SPDX-License-Identifier: LGPL-2.1-or-later
#include "heca/status.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace heca {
namespace {

Result<int> Half(int n) {
  if (n % 2 != 0) return Status(ErrorCode::kInvalidArgument, "3 is odd; give an even number");
  return n / 2;
}

Status UseHalf(int n, int& out) {
  HECA_ASSIGN_OR_RETURN(out, Half(n));
  return Status();
}

TEST(Status, OkIsFreeAndHasNoText) {
  EXPECT_EQ(sizeof(Status), sizeof(void*));
  EXPECT_TRUE(Status().ok());
  EXPECT_EQ(Status().ToString(), "OK");
}

TEST(Status, ErrnoGivesCodeAndText) {
  const Status status = Status::FromErrno(ENOMEM, "UFFDIO_COPY of page 7", ErrorScope::kPage);
  EXPECT_EQ(status.code(), ErrorCode::kResourceExhausted);
  EXPECT_EQ(status.scope(), ErrorScope::kPage);
  EXPECT_EQ(status.sys_errno(), ENOMEM);
  EXPECT_EQ(status.ToString(), "RESOURCE_EXHAUSTED: UFFDIO_COPY of page 7: Cannot allocate memory (ENOMEM)");
}

TEST(Status, CopyAndContextKeepEverything) {
  const Status first = Status::FromErrno(ECONNRESET, "read", ErrorScope::kConnection);
  const Status second = first.WithContext("sponsor m1");
  EXPECT_EQ(second.code(), ErrorCode::kUnavailable);
  EXPECT_EQ(second.scope(), ErrorScope::kConnection);
  EXPECT_TRUE(second.retryable());
  EXPECT_TRUE(second.message().starts_with("sponsor m1: read: "));
}

TEST(Status, ResultPassesErrorsThrough) {
  int out = 0;
  EXPECT_TRUE(UseHalf(8, out).ok());
  EXPECT_EQ(out, 4);
  EXPECT_EQ(UseHalf(3, out).code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(out, 4);
}

}  // namespace
}  // namespace heca
