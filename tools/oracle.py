"""The oracle for models: gguf-py dequantises, transformers runs in f32. Needs: pip install torch transformers gguf."""
import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, dequantize
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig

NAMES = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
         "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
         "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm"}
MORE_NAMES = {
    "llama": {"ffn_norm": "post_attention_layernorm"},
    "gemma3": {"ffn_norm": "pre_feedforward_layernorm", "post_attention_norm": "post_attention_layernorm",
               "post_ffw_norm": "post_feedforward_layernorm", "attn_q_norm": "self_attn.q_norm",
               "attn_k_norm": "self_attn.k_norm"},
}


def write_f32(path, out):
    """The same GGUF with all of its tensors in f32, a tensor at a time."""
    reader = GGUFReader(path)
    writer = GGUFWriter(out, reader.fields["general.architecture"].contents())
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key in ("general.architecture", "general.file_type"):
            continue
        writer.add_key_value(key, field.contents(), field.types[0], field.types[-1] if len(field.types) > 1 else None)
    for t in reader.tensors:
        shape = [int(n) for n in reversed(t.shape)]
        writer.add_tensor_info(t.name, shape, np.dtype(np.float32), 4 * int(t.n_elements), raw_dtype=GGMLQuantizationType.F32)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for t in reader.tensors:
        writer.write_tensor_data(np.ascontiguousarray(dequantize(t.data, t.tensor_type), dtype=np.float32))
    writer.close()


def load(path):
    """A transformers model with the weights of a GGUF file of architecture llama or gemma3."""
    reader = GGUFReader(path)
    arch = reader.fields["general.architecture"].contents()
    field = lambda key: reader.fields[f"{arch}.{key}"].contents()
    heads, kv_heads = field("attention.head_count"), field("attention.head_count_kv")
    tensors = {t.name: torch.tensor(np.array(dequantize(t.data, t.tensor_type))) for t in reader.tensors}
    settings = dict(
        hidden_size=field("embedding_length"), intermediate_size=field("feed_forward_length"),
        num_hidden_layers=field("block_count"), num_attention_heads=heads, num_key_value_heads=kv_heads,
        vocab_size=tensors["token_embd.weight"].shape[0], max_position_embeddings=field("context_length"),
        rms_norm_eps=field("attention.layer_norm_rms_epsilon"), tie_word_embeddings="output.weight" not in tensors)
    base = {"rope_theta": field("rope.freq_base"), "rope_type": "default"}
    if arch == "gemma3":
        head_dim = field("attention.key_length")
        config = Gemma3TextConfig(**settings, head_dim=head_dim, query_pre_attn_scalar=head_dim,
                                  sliding_window=field("attention.sliding_window"),
                                  rope_parameters={"full_attention": base, "sliding_attention": base | {"rope_theta": 1e4}})
    else:
        config = LlamaConfig(**settings, rope_parameters=base)
    model = AutoModelForCausalLM.from_config(config).eval()
    # Gemma's files hold gains, its modules gains less 1.
    read = lambda name: tensors[name] - 1 if arch == "gemma3" and "norm" in name else tensors[name]
    state = {"model.embed_tokens.weight": read("token_embd.weight"), "model.norm.weight": read("output_norm.weight")}
    state["lm_head.weight"] = tensors.get("output.weight", tensors["token_embd.weight"])
    for name in tensors:
        if not name.startswith("blk."):
            continue
        _, layer, part, _ = name.split(".")
        value = read(name)
        if arch == "llama" and part in ("attn_q", "attn_k"):  # undo GGUF's order of the rotary pairs
            n = heads if part == "attn_q" else kv_heads
            value = value.reshape(n, value.shape[0] // n // 2, 2, -1).swapaxes(1, 2).reshape(value.shape)
        state[f"model.layers.{layer}.{(NAMES | MORE_NAMES[arch])[part]}.weight"] = value
    model.load_state_dict(state)
    return model
