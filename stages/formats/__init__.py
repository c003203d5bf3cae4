"""Record formats: one family a module, each reading the user's records into `Conversation`.

    id             family     kind   reads
    alpaca         alpaca     sft    instruction, input, output, system, history
    sharegpt       sharegpt   sft    conversations of from and value
    openai         openai     sft    messages of role and content, tool_calls, tools
    *-dpo          same       pref   a prompt, chosen, rejected
    *-kto          same       kto    a conversation and a boolean label
    pretrain       pretrain   pt     text

The kind of example is the training stage's: the same alpaca file serves sft, predict and (with its answers unused) pt.
"""
