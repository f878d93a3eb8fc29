"""What happens to an alert after it was judged: who is told, when, in which words, and until it has arrived.

`groups`, `muting`, `matching` and the bodies are pure; `notifier` and `lane` are the threads around them, `outbox`
their journal.
"""
