// js-hello: the answer that a JavaScript function gives through the fetch event. POST sends the body back.
addEventListener('fetch', (event) => event.respondWith(answer(event.request)));

async function answer(request) {
  if (request.method === 'POST') {
    return new Response(await request.arrayBuffer());
  }
  return new Response('Hello from JavaScript!\n', { headers: { 'content-type': 'text/plain' } });
}
