// Nothing but the precompiled header, which the test programs take from this target.
