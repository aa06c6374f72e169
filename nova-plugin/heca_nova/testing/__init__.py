# SPDX-License-Identifier: Apache-2.0
"""Fakes that are shipped, for this package's tests and for whoever tests with it."""
