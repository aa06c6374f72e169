// SPDX-License-Identifier: LGPL-2.1-or-later
// What ThreadSanitizer cannot see here: a page is sent by the urgent thread, the owner gets it over the socket,
// releases the slot over another one, and the bulk thread receives the next page into it. The order is there, but it
// goes through the network.
extern "C" const char* __tsan_default_suppressions();
extern "C" const char* __tsan_default_suppressions() { return "race:heca::transport::AnswerQueue::Flush\n"; }
