# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The loss of the target's tokens, computed without the logits of all tokens at once."""

import torch
from torch import nn
from torch.nn import functional as F


TOKENS_PER_CHUNK = 512


def token_loss(logits: torch.Tensor, labels: torch.Tensor, total: torch.Tensor | float | None) -> torch.Tensor:
    """
    Return the cross-entropy of the target's tokens, summed and divided by `total`.

    Args:
        logits (`torch.Tensor` of shape `(batch_size, target_length, vocab_size)`).
        labels (`torch.LongTensor` of shape `(batch_size, target_length)`): -100 is ignored.
        total (*optional*): default: the number of target tokens.
    """
    real = labels != -100
    losses = F.cross_entropy(logits[real].float(), labels[real], reduction="none")
    return losses.sum() / (real.sum() if total is None else total)


def token_loss_of_states(
    hidden_states: torch.Tensor,
    head: nn.Linear,
    head_bias: torch.Tensor | None,
    labels: torch.Tensor,
    total: torch.Tensor | float | None,
) -> torch.Tensor:
    """
    Return [`token_loss`] of `head(hidden_states) + head_bias`. Only a few hundred rows of logits exist at any time, as
    the gradient is computed together with the loss. Padding is skipped.

    Args:
        hidden_states (`torch.Tensor` of shape `(batch_size, target_length, hidden_size)`): input of the head.
        head_bias (`torch.Tensor` of shape `(vocab_size,)`, *optional*): added to the head's scores; gets no gradient.
    """
    real = labels != -100
    scale = torch.ones((), device=labels.device) / (real.sum() if total is None else total)
    bias = head.bias if head_bias is None else head_bias if head.bias is None else head.bias + head_bias
    return _ChunkedCrossEntropy.apply(hidden_states[real], head.weight, bias, labels[real], scale)


class _ChunkedCrossEntropy(torch.autograd.Function):
    """scale * sum_i CE(states_i @ weight.T + bias, labels_i), with its gradients for states, weight and bias."""

    @staticmethod
    def forward(ctx, states, weight, bias, labels, scale):
        needs_states, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        grad_states = torch.empty_like(states) if needs_states else None
        grad_weight = torch.zeros_like(weight) if needs_weight else None
        grad_bias = torch.zeros_like(bias) if needs_bias else None
        loss = scale.new_zeros(())
        for start in range(0, len(labels), TOKENS_PER_CHUNK):
            part, own = slice(start, start + TOKENS_PER_CHUNK), labels[start : start + TOKENS_PER_CHUNK, None]
            scores = F.linear(states[part], weight, bias).float()  # (chunk, vocab_size)
            logarithms = torch.log_softmax(scores, dim=-1, out=scores)
            loss -= (logarithms.gather(1, own).squeeze(1) * scale).sum()
            gradient = logarithms.exp_()  # softmax, less 1 at the label
            gradient.scatter_add_(1, own, -torch.ones_like(own, dtype=gradient.dtype))
            gradient = gradient.mul_(scale).to(states.dtype)
            if needs_states:
                grad_states[part] = gradient @ weight
            if needs_weight:
                grad_weight.addmm_(gradient.T, states[part])
            if needs_bias:
                grad_bias += gradient.sum(dim=0)
        ctx.save_for_backward(grad_states, grad_weight, grad_bias)
        return loss

    @staticmethod
    def backward(ctx, grad_loss):
        gradients = (None if gradient is None else gradient * grad_loss for gradient in ctx.saved_tensors)
        return *gradients, None, None


__all__ = ["token_loss", "token_loss_of_states"]
